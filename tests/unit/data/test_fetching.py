from __future__ import annotations

import sys
from pathlib import Path

import pytest

from offramp.data.fetching import Archive, DebianPackage
from offramp.errors import DataError

PACKAGE = DebianPackage("dataset-example", files=("images.gz", "labels.gz"))


@pytest.fixture
def scratch(tmp_path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def command(tmp_path):
    """Puts a command on the path: a Python script that appends its arguments to a log and runs a body."""
    (tmp_path / "bin").mkdir()
    log = tmp_path / "log"
    log.touch()

    def put(name: str, body: str) -> Path:
        script = tmp_path / "bin" / name
        script.write_text(
            f"#!{sys.executable}\nimport pathlib, sys\n"
            f"print({name!r}, *sys.argv[1:], file=open({str(log)!r}, 'a'))\n{body}\n"
        )
        script.chmod(0o755)
        return log

    return put


UNPACK = "f = pathlib.Path(sys.argv[3], 'usr/share'); f.mkdir(parents=True)\n" + "\n".join(
    f"(f / {name!r}).write_text({name!r})" for name in (*PACKAGE.files, "README")
)
DOWNLOAD = "pathlib.Path('dataset-example_1.0_all.deb').touch()"


def test_a_package_is_downloaded_and_unpacked(command, scratch):
    command("apt-get", DOWNLOAD)
    log = command("dpkg", UNPACK)
    assert [file.read_text() for file in PACKAGE(scratch)] == ["images.gz", "labels.gz"]
    assert [line.split()[:3] for line in log.read_text().splitlines()] == [
        ["apt-get", "download", "dataset-example"],
        ["dpkg", "-x", str(scratch / "dataset-example_1.0_all.deb")],
    ]


def test_stale_lists_are_renewed_once_in_a_private_folder(command, scratch):
    log = command(
        "apt-get",
        f"lists = [a.split('=')[1] for a in sys.argv if a.startswith('Dir::State::Lists=')]\n"
        "if not lists: sys.exit('E: Unable to locate package')\n"
        "marker = pathlib.Path(lists[0], 'updated')\n"
        "if sys.argv[1] == 'update': marker.touch()\n"
        "assert marker.exists()\n"
        f"if sys.argv[1] == 'download': {DOWNLOAD}",
    )
    command("dpkg", UNPACK)
    assert [file.name for file in PACKAGE(scratch)] == ["images.gz", "labels.gz"]
    assert [line.split()[1] for line in log.read_text().splitlines()] == ["download", "update", "download", "-x"]
    assert f"Dir::Cache={scratch}" in log.read_text()


def test_the_last_words_of_a_command_that_fails_are_passed_on(command, scratch):
    command("apt-get", "sys.exit('W: something\\nE: No network')")
    command("dpkg", UNPACK)
    with pytest.raises(DataError, match=r"apt-get update: E: No network$"):
        PACKAGE(scratch)


def test_a_package_without_the_files_is_refused(command, scratch):
    command("apt-get", DOWNLOAD)
    command("dpkg", "pathlib.Path(sys.argv[3]).mkdir()")
    with pytest.raises(DataError, match=r"does not contain images\.gz, labels\.gz"):
        PACKAGE(scratch)


def test_a_download_that_leaves_no_file_is_refused(command, scratch):
    command("apt-get", "")
    command("dpkg", UNPACK)
    with pytest.raises(DataError, match=r"left no \.deb file"):
        PACKAGE(scratch)


def test_a_machine_without_apt_is_told_so(scratch):
    with pytest.raises(DataError, match="there is no apt-get or dpkg on this machine"):
        PACKAGE(scratch)


def test_an_archive_is_downloaded_file_by_file(tmp_path, scratch):
    for name in PACKAGE.files:
        (tmp_path / name).write_text(name)
    files = Archive(f"{tmp_path.as_uri()}/", PACKAGE.files)(scratch)
    assert {file.name: file.read_text() for file in files} == {name: name for name in PACKAGE.files}
    assert {file.parent for file in files} == {scratch / "archive"}


def test_an_archive_without_the_file_is_named_with_its_address(tmp_path, scratch):
    with pytest.raises(DataError, match=r"file:.*/images\.gz: .*No such file"):
        Archive(f"{tmp_path.as_uri()}/", PACKAGE.files)(scratch)
