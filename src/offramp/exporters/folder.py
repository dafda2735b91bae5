"""Folders that appear whole or not at all, and the checksums of what is in them."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from offramp.errors import ExportError
from offramp.exporters.report import Entry

MANIFEST = "manifest.json"


@contextlib.contextmanager
def fresh_folder(target: Path, overwrite: bool) -> Iterator[Path]:
    """A folder beside `target` that takes its place when the block ends well, and is removed when it does not.

    Args:
        target: must be missing or empty, or hold an earlier export that may be overwritten.
        overwrite: replace an earlier export.

    Raises:
        ExportError: there is something else, or the folder cannot be written.
    """
    _check(target, overwrite)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise _unwritable(target, error) from error
    try:
        beside.chmod(0o755)  # temporary folders are made for their owner only
        yield beside
        _replace(target, beside)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def entry(path: Path) -> Entry:
    """Name, size and checksum of a file."""
    with path.open("rb") as file:
        return Entry(path.name, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _check(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise ExportError(f"{target} is a file: choose a folder to export to.")
    if not any(target.iterdir()):
        return
    if not (target / MANIFEST).exists():
        raise ExportError(f"{target} holds other files, which an export would replace: choose another folder.")
    if not overwrite:
        raise ExportError(
            f"{target} holds an export already. Replace it with overwrite=True, or choose another folder."
        )


def _replace(target: Path, beside: Path) -> None:
    if not target.exists():
        beside.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    target.rename(old / target.name)
    beside.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _unwritable(target: Path, error: OSError) -> ExportError:
    return ExportError(f"The export cannot be written to {target} ({error}). Choose a folder that you can write to.")
