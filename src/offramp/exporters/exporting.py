"""The verb: writes a model under a policy so that others can run it, and checks what was written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from offramp.exit_model import ExitModel
from offramp.exporters.folder import fresh_folder
from offramp.exporters.formats import Options, find_format
from offramp.exporters.parity import check_parity
from offramp.exporters.report import ExportReport
from offramp.exporters.rows import Leaves, joined, random_rows, rows_at_thresholds
from offramp.exporters.skipping import check_skipping
from offramp.exporters.subject import Subject
from offramp.policy import Policy
from offramp.runtimes import Tuning

ROWS = 33


def export(
    model: ExitModel,
    policy: Policy,
    folder: str | Path,
    format: str = "bundle",
    *,
    inputs: Any = None,
    class_names: Sequence[str] | None = None,
    segments: str | None = None,
    tuning: Tuning | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Writes a model under a policy to a folder, which appears whole or not at all.

    What was written is read back and compared with the eager runtime, on random inputs and on inputs whose scores lie
    at the thresholds. It is refused where it decides otherwise, or runs what nobody needs.

    Args:
        model: from `attach`; set to evaluation mode.
        policy: from `calibrate(...).unwrap()`, made by hand, or `always(exit=...)`.
        folder: to write to; missing or empty, unless `overwrite`.
        format: "bundle" (for `load_bundle`), "pt2" (`torch.export` files for plain PyTorch) or "onnx" (one graph that
            takes the exits itself, and a file per segment).
        inputs: a batch of real inputs to compare on too.
        class_names: one per class, to be written along.
        segments: for a bundle, the form of the segments' files: "pt2" (default) or "onnx".
        tuning: for a bundle to carry: what `deploy(..., backend="auto")` measured, its `.tuning`.
        overwrite: replace an earlier export.

    Returns:
        What was written, how it agreed, and whether it was seen to skip; also in the folder, as `report.json`.

    Raises:
        ExportError: a part does not convert, decides otherwise, or does not skip; or the folder cannot be written.
        CutError: the model has no stages.
        PolicyError: the policy is for another number of exits.
        MissingExtraError: the format's packages are not installed.
        InputError: `inputs` do not fit the model.

    Example:
        >>> import tempfile, torch
        >>> from torch import nn
        >>> import offramp as ofr
        >>> backbone = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> model = ofr.attach(backbone, at=["1"], example=torch.zeros(1, 4))
        >>> folder = f"{tempfile.mkdtemp()}/bundle"
        >>> report = export(model, ofr.always(exit=0), folder)
        >>> [file.name for file in report.files]
        ['example.safetensors', 'segment_0.pt2', 'segment_1.pt2']
    """
    write = find_format(format)
    subject = Subject.of(model, policy, class_names)
    batches = _batches(subject, inputs)
    chosen = Options(segments, tuning)
    with fresh_folder(Path(folder), overwrite) as place:
        manifest, artefacts = write(subject, place, chosen)
        manifest.save(place)
        parity = [entry for artefact in artefacts for entry in check_parity(subject, artefact, batches)]
        everything = _together(subject, batches)
        skipping = [check_skipping(subject, artefact, everything) for artefact in artefacts]
        report = ExportReport(format, str(folder), manifest.files, tuple(parity), tuple(skipping))
        report.save(place)
    return report


def _batches(subject: Subject, inputs: Any) -> dict[str, Leaves]:
    """Rows to compare on, the first being there always."""
    random = random_rows(subject, ROWS)
    batches = {"random inputs": random}
    if inputs is not None:
        subject.entrance.tensors(inputs)  # refuses what does not fit
        batches["given inputs"] = subject.entrance.signature.flatten(inputs)
    source = batches.get("given inputs", random)
    at_thresholds = rows_at_thresholds(subject, source)
    return batches if at_thresholds is None else batches | {"inputs at thresholds": at_thresholds}


def _together(subject: Subject, batches: dict[str, Leaves]) -> Leaves:
    return joined(subject.entrance.signature, list(batches.values()))
