"""Ways to obtain a data set's files: a Debian package without root, an archive over the network.

A way is called with a scratch folder and returns the files it put there, unchecked: the caller has the checksums.
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from offramp.errors import DataError

_PACKAGE_SECONDS = 180
_CONNECTION_SECONDS = 10


class Way(Protocol):
    """One way to obtain files."""

    def __call__(self, scratch: Path) -> list[Path]:
        """Fetches into `scratch`.

        Raises:
            DataError: it did not work; the message says which way and why.
        """


@dataclass(frozen=True)
class DebianPackage:
    """Downloads a package with apt and unpacks it with dpkg, both of which work without root.

    Args:
        package: the package's name.
        files: names of the files wanted from it, wherever they are in the package.
    """

    package: str
    files: tuple[str, ...]

    def __call__(self, scratch: Path) -> list[Path]:
        """See `Way`."""
        if not (shutil.which("apt-get") and shutil.which("dpkg")):
            raise DataError(f"package {self.package}: there is no apt-get or dpkg on this machine")
        _run(["dpkg", "-x", str(self._download(scratch)), "unpacked"], scratch)
        found = {path.name: path for path in (scratch / "unpacked").rglob("*") if path.name in self.files}
        if lacking := [name for name in self.files if name not in found]:
            raise DataError(f"package {self.package}: it does not contain {', '.join(lacking)}")
        return [found[name] for name in self.files]

    def _download(self, scratch: Path) -> Path:
        try:
            _run(["apt-get", "download", self.package], scratch)
        except DataError:
            # The machine's package lists are often missing or stale, and only root may renew them.
            own_lists = _private_lists(scratch)
            _run(["apt-get", "update", *own_lists], scratch)
            _run(["apt-get", "download", *own_lists, self.package], scratch)
        packages = list(scratch.glob(f"{self.package}_*.deb"))
        if not packages:
            raise DataError(f"package {self.package}: apt-get reported success but left no .deb file")
        return packages[0]


@dataclass(frozen=True)
class Archive:
    """Downloads each file from an address over HTTP(S).

    Args:
        address: what the file names are appended to.
        files: the names.
    """

    address: str
    files: tuple[str, ...]

    def __call__(self, scratch: Path) -> list[Path]:
        """See `Way`."""
        folder = scratch / "archive"
        folder.mkdir(exist_ok=True)
        return [self._download(name, folder / name) for name in self.files]

    def _download(self, name: str, target: Path) -> Path:
        try:
            with (
                urllib.request.urlopen(self.address + name, timeout=_CONNECTION_SECONDS) as response,
                target.open("wb") as file,
            ):
                shutil.copyfileobj(response, file)
        except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
            raise DataError(f"{self.address}{name}: {error}") from error
        return target


def _private_lists(scratch: Path) -> list[str]:
    lists, cache = scratch / "apt" / "lists", scratch / "apt" / "cache"
    for folder in (lists, cache / "archives"):
        (folder / "partial").mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={cache}"]


def _run(command: list[str], folder: Path) -> None:
    described = " ".join(command[:2])
    try:
        subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            check=True,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PACKAGE_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip().splitlines()
        raise DataError(f"{described}: {said[-1] if said else f'exit code {error.returncode}'}") from error
    except subprocess.TimeoutExpired as error:
        raise DataError(f"{described}: no end after {_PACKAGE_SECONDS} s") from error
    except OSError as error:
        raise DataError(f"{described}: {error}") from error
