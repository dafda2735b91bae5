"""A folder that offramp loads without the model's class: manifest, example inputs, and a file per segment."""

from __future__ import annotations

from pathlib import Path

from offramp.exporters.artefact import Artefact, staged_artefact
from offramp.exporters.example import load_example, save_example
from offramp.exporters.formats import Options
from offramp.exporters.manifest import Manifest
from offramp.exporters.programs import chosen_backend, make_programs, read_segments, write_segments
from offramp.exporters.subject import Subject
from offramp.runtimes import StagedRuntime


def write(subject: Subject, folder: Path, options: Options) -> tuple[Manifest, list[Artefact]]:
    """Writes the files, and makes a runtime of them.

    Raises:
        ExportError: a segment, or an input that is no tensor, cannot be written.
        MissingExtraError: the packages for segments in ONNX form are not installed.
    """
    form = options.segments or "pt2"
    files = write_segments(subject, folder, form)
    example = save_example(subject.entrance, folder)
    manifest = Manifest.of(subject, folder, "bundle", form, files, example, options.tuning)
    device = subject.entrance.device
    backend = chosen_backend(form, None)
    programs = make_programs(read_segments(folder, manifest, device), backend)
    entrance = load_example(folder, example, device)
    return manifest, [staged_artefact(StagedRuntime(subject.plan, programs, subject.names, entrance, backend))]
