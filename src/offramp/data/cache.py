"""The folder where fetched data sets are kept, and how files get there without being seen half-written."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from offramp.errors import DataError


def cache_folder() -> Path:
    """The user's cache folder for offramp: below `$XDG_CACHE_HOME`, or where the platform keeps caches."""
    return _user_cache() / "offramp"


def _user_cache() -> Path:
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local)
    return Path.home() / ".cache"


def install(files: Iterable[Path], folder: Path) -> None:
    """Copies files into a folder of the cache. Each appears there whole or not at all.

    Raises:
        DataError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Inside the target folder, because a rename is atomic only within one file system.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".incoming-") as incoming:
            for file in files:
                copied = shutil.copyfile(file, Path(incoming) / file.name)
                copied.replace(folder / file.name)
    except OSError as error:
        raise DataError(
            f"The cache folder {folder} cannot be written ({error}). Set XDG_CACHE_HOME to a folder that can."
        ) from error
