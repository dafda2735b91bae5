"""The lines that Distiller prints, so that what reads its logs reads these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from offramp.cli.steps.classification.statistics import Figures

UNUSED = "n/a"


def training_line(epoch: int, step: int, steps: int, values: Mapping[str, float]) -> str:
    """Means since the epoch began, e.g. `Epoch: [0][   10/  352]    Overall Loss 2.300000    ...`.

    Args:
        epoch: counted from 0, as in Distiller.
        step: steps done in it.
        steps: of the whole epoch.
        values: by name, in the order in which they are shown.
    """
    return f"Epoch: [{epoch}][{step:5d}/{steps:5d}]    " + "    ".join(f"{k} {v:.6f}" for k, v in values.items())


def figure_lines(figures: Figures) -> Iterator[str]:
    """What validation and test end with: losses, counts, shares and accuracies per exit, then the totals.

    A network without exits has the line of `total_line` alone.
    """
    if len(figures.exits) == 1:
        return
    for row in figures.exits:
        yield f"LossAvg{row.exit} {row.loss:.6f}"
    for row in figures.exits:
        yield f"Exit {row.exit}: {row.count}"
    for row in figures.exits:
        yield f"Percent Early Exit {row.exit}: {row.percent:.3f}"
    for row in figures.exits:
        yield f"Accuracy Stats for exit {row.exit}: top1 = {_accuracy(row.top1)}, top5 = {_accuracy(row.top5)}"
    yield (
        f"Totals for entire network with early exits: top1 = {figures.top1:.3f}, top5 = {figures.top5:.3f} "
        f"({figures.samples} samples)"
    )


def cost_line(figures: Figures, plain_macs: float, seconds: float | None = None) -> str:
    """Mean MACs beside those of the plain network, and the measured time of a sample."""
    time = "" if seconds is None else f", measured {1e6 * seconds:.1f} us per sample"
    macs = figures.mean_macs or plain_macs
    share = f", {macs / plain_macs:.3f} of the plain network" if len(figures.exits) > 1 else ""
    return f"Mean cost: {macs / 1e6:.3f} MMACs per sample{share}{time}"


def total_line(name: str, figures: Figures) -> str:
    """One line of totals, as Distiller ends an epoch with."""
    return f"==> {name}: Top1: {figures.top1:.3f}    Top5: {figures.top5:.3f}    Loss: {figures.loss:.3f}"


def board(figures: Figures) -> Iterator[tuple[str, float]]:
    """Names and values for TensorBoard and CSV, totals first, and without exits nothing else.

    An unused exit has no accuracy and no entry for one.
    """
    yield from (("Loss", figures.loss), ("Top1", figures.top1), ("Top5", figures.top5))
    if figures.mean_macs is not None:
        yield "Mean MACs", figures.mean_macs
    for row in figures.exits if len(figures.exits) > 1 else ():
        yield f"LossAvg{row.exit}", row.loss
        yield f"Percent_exit{row.exit}", row.percent
        if row.top1 is not None and row.top5 is not None:
            yield f"Top1_exit{row.exit}", row.top1
            yield f"Top5_exit{row.exit}", row.top5


def _accuracy(percent: float | None) -> str:
    return UNUSED if percent is None else f"{percent:.3f}"
