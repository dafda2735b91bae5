"""How an export is laid out on disk. A format is a module here with `write(subject, folder, options) -> artefacts`.

To add one: a new file, and its line in `FORMATS`. Modules are imported when asked for, so that their packages may be
missing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from offramp.errors import ExportError, closest
from offramp.exporters.artefact import Artefact
from offramp.exporters.manifest import Manifest
from offramp.exporters.subject import Subject
from offramp.runtimes import Tuning

FORMATS: dict[str, str] = {
    "bundle": "offramp.exporters.formats.bundle",
    "pt2": "offramp.exporters.formats.pt2",
    "onnx": "offramp.exporters.formats.onnx",
}
"""Module of each format by its name."""


@dataclass(frozen=True)
class Options:
    """What a format may be told.

    Attributes:
        segments: form of the segments' files, "pt2" or "onnx"; None for the format's own.
        tuning: measured times for a bundle to carry.
    """

    segments: str | None = None
    tuning: Tuning | None = None


Write = Callable[[Subject, Path, Options], tuple[Manifest, Sequence[Artefact]]]
"""Writes all files but the manifest into a folder; gives the manifest, and what can be run of what was written."""


def find_format(name: str) -> Write:
    """The function that writes a format.

    Raises:
        ExportError: there is no such format.
    """
    if name not in FORMATS:
        raise ExportError(f"export(format={name!r}): there is no such format. {closest(name, FORMATS)}")
    found: Write = importlib.import_module(FORMATS[name]).write
    return found
