from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from offramp.data.cache import cache_folder, install
from offramp.errors import DataError


@pytest.fixture
def files(tmp_path) -> list[Path]:
    paths = [tmp_path / "a.gz", tmp_path / "b.gz"]
    for path in paths:
        path.write_text(path.name)
    return paths


def test_the_cache_follows_xdg(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/where")
    assert cache_folder() == Path("/some/where/offramp")


@pytest.mark.parametrize(
    ("platform", "expected"),
    [("linux", ".cache/offramp"), ("darwin", "Library/Caches/offramp"), ("win32", "Local/offramp")],
)
def test_without_xdg_the_cache_is_where_the_platform_keeps_it(monkeypatch, tmp_path, platform, expected):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    monkeypatch.setattr("sys.platform", platform)
    assert cache_folder() == tmp_path / expected


def test_installed_files_are_there_and_nothing_else(tmp_path, files):
    install(files, tmp_path / "new" / "folder")
    assert {file.name: file.read_text() for file in (tmp_path / "new" / "folder").iterdir()} == {
        "a.gz": "a.gz",
        "b.gz": "b.gz",
    }


def test_a_copy_that_breaks_off_leaves_the_old_file(tmp_path, files, monkeypatch):
    folder = tmp_path / "cache"
    install(files, folder)

    def half(source, target):
        # Renaming into place is atomic only within one file system, so the copy must start out below the folder.
        assert Path(target).is_relative_to(folder)
        Path(target).write_text("ha")
        raise OSError("No space left on device")

    monkeypatch.setattr(shutil, "copyfile", half)
    with pytest.raises(DataError, match=r"cache cannot be written \(No space left on device\).*XDG_CACHE_HOME"):
        install(files, folder)
    assert {file.name: file.read_text() for file in folder.iterdir()} == {"a.gz": "a.gz", "b.gz": "b.gz"}


def test_a_cache_that_cannot_be_made_is_named(tmp_path, files):
    with pytest.raises(DataError, match=r"The cache folder .*a\.gz/below cannot be written"):
        install(files, files[0] / "below")
