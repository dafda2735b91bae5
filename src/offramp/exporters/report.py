"""What an export is known to do: how it agreed with the runtime, whether it skips, and which files it is made of."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

REPORT = "report.json"


@dataclass(frozen=True)
class Parity:
    """How what was written agreed with the eager runtime on one kind of inputs.

    Attributes:
        artefact: what was run: "graph" (one ONNX graph) or "segments".
        inputs: which inputs, in words.
        rows: how many.
        equal: rows that took the same exit.
        near: rows that took another exit, their score at the parting exit within `tolerance` of its threshold.
        largest_difference: between logits of rows that took the same exit; NaN where none did.
        tolerance: in units of the score.
    """

    artefact: str
    inputs: str
    rows: int
    equal: int
    near: int
    largest_difference: float
    tolerance: float


@dataclass(frozen=True)
class Passing:
    """What happened to rows that all leave at one exit.

    Attributes:
        exit: where they leave.
        executed: the exits whose segment ran.
        seconds: median time of a call.
    """

    exit: int
    executed: tuple[int, ...]
    seconds: float


@dataclass(frozen=True)
class Skipping:
    """Whether what lies behind an exit runs when everybody has left.

    Attributes:
        artefact: as in `Parity`.
        rows: per call.
        how: "inputs" where rows that leave early and late were found, "thresholds" where those were changed for it.
        first: rows that leave early.
        last: rows that leave last.
        reason: why it could not be shown, empty where it was.
    """

    artefact: str
    rows: int
    how: str = ""
    first: Passing | None = None
    last: Passing | None = None
    reason: str = ""

    @property
    def shown(self) -> bool:
        """Whether it was seen that nothing runs for nobody."""
        return not self.reason

    @property
    def ratio(self) -> float:
        """Time of rows that leave last by time of rows that leave early; NaN where not shown."""
        return self.last.seconds / self.first.seconds if self.first and self.last else math.nan


@dataclass(frozen=True)
class Entry:
    """A file: its name in the folder, its size in bytes, its SHA-256 in hexadecimal digits."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ExportReport:
    """Outcome of an export.

    Attributes:
        format: "bundle", "pt2" or "onnx".
        folder: where it is.
        files: all of them but this report.
        parity: one entry per artefact and kind of inputs.
        skipping: one entry per artefact.
    """

    format: str
    folder: str
    files: tuple[Entry, ...]
    parity: tuple[Parity, ...]
    skipping: tuple[Skipping, ...]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(entry.bytes for entry in self.files)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; NaN becomes None."""
        data = asdict(self)
        for entry, skipping in zip(data["skipping"], self.skipping, strict=True):
            entry |= {"shown": skipping.shown, "ratio": skipping.ratio}
        plain: dict[str, Any] = _without_nan(data)
        return plain

    def save(self, folder: Path) -> None:
        """Writes `report.json`."""
        (folder / REPORT).write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf8")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value
