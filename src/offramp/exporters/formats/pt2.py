"""A `torch.export` file per segment and a manifest, to be run with plain PyTorch."""

from __future__ import annotations

from pathlib import Path

from offramp.errors import ExportError
from offramp.exporters.artefact import Artefact, staged_artefact
from offramp.exporters.formats import Options
from offramp.exporters.manifest import Manifest
from offramp.exporters.programs import PROGRAMS, make_programs, read_segments, write_segments
from offramp.exporters.subject import Subject
from offramp.runtimes import StagedRuntime


def write(subject: Subject, folder: Path, options: Options) -> tuple[Manifest, list[Artefact]]:
    """Writes the files, and makes a runtime of them.

    Raises:
        ExportError: a segment cannot be written, or is asked for in another form.
    """
    if options.segments not in (None, "pt2"):
        raise ExportError(
            f"export(format='pt2', segments={options.segments!r}): its files are .pt2. Leave segments out."
        )
    files = write_segments(subject, folder, "pt2")
    manifest = Manifest.of(subject, folder, "pt2", "pt2", files)
    programs = make_programs(read_segments(folder, manifest, subject.entrance.device), PROGRAMS)
    runtime = StagedRuntime(subject.plan, programs, subject.names, subject.entrance, PROGRAMS)
    return manifest, [staged_artefact(runtime)]
