"""The files of the segments: `segment_0.pt2`, `segment_1.pt2`, ... or the same as `.onnx`."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch.export.passes import move_to_device_pass

from offramp.errors import ExportError, FileFormatError
from offramp.exporters.manifest import Manifest
from offramp.exporters.subject import Subject
from offramp.lowering import ExportedSegment, OnnxSegment, export_segment, require_onnx, to_onnx
from offramp.runtimes import Program
from offramp.runtimes.backends import backend as find_backend
from offramp.segments import Segment

FORMS = ("pt2", "onnx")
PROGRAMS = "export"
"""The backend that runs `.pt2` files as they are."""
OF_ONNX = ("onnxruntime", "openvino")
"""The backends that read ONNX files."""
NATURAL = {"pt2": PROGRAMS, "onnx": "onnxruntime"}
"""The backend of each form where none is asked for."""


def write_segments(subject: Subject, folder: Path, form: str) -> list[str]:
    """Writes a file per segment and gives their names.

    Args:
        subject: what is exported.
        folder: to write to.
        form: "pt2" or "onnx".

    Raises:
        ExportError: there is no such form, or a segment has none.
        MissingExtraError: the packages for ONNX are not installed.
    """
    if form not in FORMS:
        raise ExportError(f"export(segments={form!r}): there is no such form. Allowed: {', '.join(map(repr, FORMS))}.")
    names = [f"segment_{k}.{form}" for k in range(len(subject.segments))]
    if form == "onnx":
        require_onnx()
    for name, segment in zip(names, subject.segments, strict=True):
        if form == "pt2":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about torch's own serialisation
                torch.export.save(export_segment(segment), folder / name)
        else:
            importlib.import_module("onnx").save(to_onnx(segment), folder / name)
    return names


def read_segments(folder: Path, manifest: Manifest, device: torch.device) -> Sequence[Segment]:
    """What was written, one segment per stop: all that a backend may use of one that was cut from a model.

    Args:
        folder: of the export.
        manifest: of the export, checked.
        device: to run on.

    Raises:
        FileFormatError: a file cannot be read by this version of torch.
        MissingExtraError: the packages for ONNX are not installed.
    """
    read = _read_onnx if manifest.form == "onnx" else _read_pt2
    parts = [read(folder / file, manifest, k, device) for k, file in enumerate(manifest.segments)]
    return cast("Sequence[Segment]", parts)


def make_programs(segments: Sequence[Segment], backend: str) -> Sequence[Program]:
    """Makes segments executable.

    Args:
        segments: from `read_segments`.
        backend: "export" runs `.pt2` files as they are, the others compile them.

    Raises:
        PolicyError: there is no such backend.
        MissingExtraError: its packages are not installed.
    """
    return segments if backend == PROGRAMS else find_backend(backend)(segments)


def chosen_backend(form: str, wanted: str | None) -> str:
    """The backend to run segments of a form with; None stands for what runs the files as they are.

    Raises:
        FileFormatError: the backend cannot read that form.
    """
    backend = wanted or NATURAL[form]
    if form == "onnx" and backend not in OF_ONNX:
        raise FileFormatError(
            f"The export holds its segments as ONNX, which the backend {backend!r} cannot read. Use one of "
            f"{', '.join(OF_ONNX)}, or export with segments='pt2'."
        )
    return backend


def _read_onnx(path: Path, manifest: Manifest, k: int, device: torch.device) -> OnnxSegment:
    require_onnx()
    return OnnxSegment(importlib.import_module("onnx").load(path), manifest.names[k], manifest.plan.stops[k])


def _read_pt2(path: Path, manifest: Manifest, k: int, device: torch.device) -> ExportedSegment:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(path)
            if device.type != manifest.device:
                program = move_to_device_pass(program, device)
    except Exception as error:  # whatever another version of torch may raise
        raise FileFormatError(
            f"{path} cannot be read by torch {torch.__version__} ({type(error).__name__}: {str(error)[:200]}). It was "
            f"written by torch {(manifest.versions or {}).get('torch')}: use that one, or export again."
        ) from error
    args, _ = program.example_inputs
    return ExportedSegment(program, manifest.names[k], manifest.plan.stops[k], args)
