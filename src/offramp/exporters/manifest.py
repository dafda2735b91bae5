"""`manifest.json`: everything about an export but its weights, with the checksum of every file and of itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import offramp
from offramp.documents import DocumentKind
from offramp.errors import FileFormatError, OfframpError
from offramp.exporters.folder import MANIFEST, entry
from offramp.exporters.report import Entry
from offramp.exporters.subject import InputSpec, Subject
from offramp.runtimes import Tuning
from offramp.segments import Plan

KIND = DocumentKind("offramp.export", 1, "manifest of an export", "Write one with offramp.export or `offramp export`.")


@dataclass(frozen=True, eq=False)
class Manifest:
    """What `manifest.json` says.

    Attributes:
        kind: "bundle", "pt2" or "onnx".
        form: of the segments' files, "pt2" or "onnx".
        plan: stops, thresholds, policy and costs.
        names: of the cuts at the stops.
        segments: the segments' files, one per stop.
        classes: number of logits.
        class_names: one per class, or None.
        inputs: the batched inputs, in the order of the first segment's.
        device: that the segments were exported on, e.g. "cpu".
        files: all files but the manifest and the report.
        example: structure of the inputs, for bundles; see `offramp.exporters.example`.
        tuning: measured times by which a runtime was chosen, if the bundle carries any; see `Tuning`.
        versions: of offramp and torch, that wrote it.
    """

    kind: str
    form: str
    plan: Plan
    names: tuple[str, ...]
    segments: tuple[str, ...]
    classes: int
    class_names: tuple[str, ...] | None
    inputs: tuple[InputSpec, ...]
    device: str
    files: tuple[Entry, ...]
    example: dict[str, Any] | None = None
    tuning: dict[str, Any] | None = None
    versions: dict[str, str] | None = None

    @classmethod
    def of(
        cls,
        subject: Subject,
        folder: Path,
        kind: str,
        form: str,
        segments: Sequence[str],
        example: dict[str, Any] | None = None,
        tuning: Tuning | None = None,
    ) -> Manifest:
        """Describes what has been written to a folder."""
        return cls(
            kind,
            form,
            subject.plan,
            subject.names,
            tuple(segments),
            subject.model.num_classes,
            subject.class_names,
            subject.inputs,
            subject.model.device.type,
            tuple(entry(path) for path in sorted(folder.iterdir())),
            example,
            None if tuning is None else tuning.to_dict(),
            {"offramp": offramp.__version__, "torch": torch.__version__},
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data with format, version and its own checksum."""
        fields = {
            "kind": self.kind,
            "versions": self.versions,
            "form": self.form,
            "device": self.device,
            "plan": self.plan.to_dict(),
            "names": list(self.names),
            "segments": list(self.segments),
            "exits": self.plan.exits,
            "classes": self.classes,
            "class_names": None if self.class_names is None else list(self.class_names),
            "inputs": [spec.to_dict() for spec in self.inputs],
            "example": self.example,
            "tuning": self.tuning,
            "files": [asdict(file) for file in self.files],
        }
        data = KIND.stamp(fields)
        return {**data, "sha256": _digest(data)}

    def save(self, folder: Path) -> None:
        """Writes `manifest.json`."""
        KIND.write(folder / MANIFEST, self.to_dict())

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Reads `manifest.json` and compares every file with its checksum.

        Raises:
            FileFormatError: it is missing, damaged, newer, or says otherwise than the files are.
        """
        path = folder / MANIFEST
        manifest = _parsed(path, _read(path))
        for file in manifest.files:
            _check_file(folder, file)
        return manifest


def _read(path: Path) -> dict[str, Any]:
    data = KIND.read(path)
    if data.pop("sha256", None) != _digest(data):
        raise FileFormatError(
            f"{path} was changed since it was written: its checksum differs. Restore it; to change thresholds, export "
            "again with another policy."
        )
    return data


def _parsed(path: Path, data: dict[str, Any]) -> Manifest:
    try:
        return Manifest(
            data["kind"],
            data["form"],
            Plan.from_dict(data["plan"]),
            tuple(data["names"]),
            tuple(data["segments"]),
            data["classes"],
            None if data["class_names"] is None else tuple(data["class_names"]),
            tuple(InputSpec(x["name"], tuple(x["shape"][1:]), x["dtype"]) for x in data["inputs"]),
            data["device"],
            tuple(Entry(**file) for file in data["files"]),
            data["example"],
            data["tuning"],
            data["versions"],
        )
    except (KeyError, TypeError, ValueError, OfframpError) as error:
        raise KIND.damaged(path, error) from error


def _check_file(folder: Path, file: Entry) -> None:
    path = folder / file.name
    if not path.is_file():
        raise FileFormatError(f"{folder} lacks the file {file.name}. Copy the whole folder, or export again.")
    if entry(path) != file:
        raise FileFormatError(
            f"{path} is not the file that was exported: its size or checksum differs. Restore it, or export again."
        )


def _digest(data: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
