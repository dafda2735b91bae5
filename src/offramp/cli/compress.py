"""`offramp compress`: makes a network smaller until its accuracy no longer allows it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from offramp.cli.failures import UsageError
from offramp.cli.options import Common

List = Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())]


def compress(
    data: str | None = None,
    /,
    *,
    config: Path,
    arch: str | None = None,
    model: Path | None = None,
    epochs: int = 6,
    batch_size: int = 128,
    lr: float = 0.1,
    tuning_lr: float = 0.02,
    validation: int | float | None = None,
    calibration: int | float | None = None,
    deployed: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    budget: float | None = None,
    export: List = None,
    out: Path | None = None,
    resume: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    common: Common = Common(),  # noqa: B008 - frozen, so sharing it is safe
) -> None:
    """Compress a network under an accuracy-aware training loop.

    The loop watches the accuracy on the validation split. The test split is used once, at the end, before and after.

    Args:
        data: fashion-mnist or digits; not with --model, whose run has its own.
        config: what to do, in JSON or JSON5: compression, accuracy_aware_training, as in NNCF's manual.
        arch: network of the zoo, which is trained first.
        model: run folder of `offramp train`, whose network with exits is compressed.
        epochs: passes over the training split before compressing, with --arch.
        batch_size: images per step.
        lr: initial learning rate before compressing, with --arch.
        tuning_lr: learning rate while the compressed network trains.
        validation: size of the validation split, as a count or a share of the training part, with --arch.
        calibration: size of the calibration split, likewise; it is left untouched, for exits that come later.
        deployed: watch the accuracy with exits taken by the run's policy, not that of the last exit; with --model.
        budget: watch the accuracy that exits reach at these mean MACs, a share of the plain network's; with --model.
        export: write the small network as pt2, onnx, or both.
        out: folder for results; by default runs/compressed-ARCH-DATA-seedSEED, or in the run.
        resume: continue what was interrupted in the folder.
        common: options of every command.
    """
    from offramp.cli.session import Session
    from offramp.cli.steps import compression

    if (arch is None) == (model is None):
        raise UsageError("Give exactly one of --arch (a network of the zoo) and --model (a run folder).")
    if (data is None) == (arch is not None):
        raise UsageError("With --arch, name a data set; with --model, none: the run has its own.")
    if (deployed or budget is not None) and model is None:
        raise UsageError("--deployed and --budget are about exits, which --arch has none of: give a run with --model.")
    if deployed and budget is not None:
        raise UsageError("Give one of --deployed (a fixed policy) and --budget (thresholds chosen anew).")
    session = Session(common)
    subject = (
        compression.of_run(model, batch_size)
        if model is not None
        else compression.of_arch(
            str(arch), str(data), session.seed(), (validation, calibration), epochs, batch_size, lr
        )
    )
    task = compression.Task(
        subject,
        config,
        tuning_lr,
        tuple(export or ()),
        out or subject.default_out,
        resume,
        compression.watched(subject, deployed, budget),
    )
    session.deliver(compression.run(task, session))
