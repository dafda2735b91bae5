"""Distiller's statistics: per exit what left there and how right it was, and the totals of the network with exits.

Shares are percentages here, as Distiller prints them. Means are weighted by samples, and what nobody did is None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from offramp.cli.steps.classification.outcomes import Outcomes


@dataclass(frozen=True)
class ExitFigures:
    """What one exit did.

    Attributes:
        exit: its number, 0 = earliest.
        loss: mean cross-entropy over **all** samples, in nats.
        count: samples that left here.
        percent: of all samples.
        top1: percentage of those who left here that were answered rightly; None where nobody left.
        top5: likewise, with the label among the five surest classes.
    """

    exit: int
    loss: float
    count: int
    percent: float
    top1: float | None
    top5: float | None


@dataclass(frozen=True)
class Figures:
    """A pass over a split with exits taken.

    Attributes:
        samples: number of them.
        exits: one entry per exit, the final one included.
        loss: mean cross-entropy of the exits that were taken, in nats.
        top1: percentage answered rightly by the network with its exits.
        top5: likewise, with the label among the five surest classes.
        mean_macs: multiply-accumulates per sample, heads included; None where they are not asked for.
    """

    samples: int
    exits: tuple[ExitFigures, ...]
    loss: float
    top1: float
    top5: float
    mean_macs: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, which knows no infinite loss: that is None there."""
        exits = [{**asdict(row), "loss": _finite(row.loss)} for row in self.exits]
        return {**asdict(self), "loss": _finite(self.loss), "exits": exits}


def figures(outcomes: Outcomes, taken: Tensor, macs: Sequence[float] | None = None) -> Figures:
    """The figures of a pass in which each sample left at its exit.

    Args:
        outcomes: of n samples.
        taken: `[n]` int64, the exit that each takes.
        macs: `[exits]`, cumulative cost of leaving at each.
    """
    rows = torch.arange(outcomes.samples)
    spent = None if macs is None else float(torch.tensor(macs, dtype=torch.float64)[taken].mean())
    return Figures(
        samples=outcomes.samples,
        exits=tuple(_exit(outcomes, k, taken == k) for k in range(outcomes.exits)),
        loss=float(outcomes.losses[taken, rows].double().mean()),
        top1=_percent(outcomes.top1[taken, rows]),
        top5=_percent(outcomes.top5[taken, rows]),
        mean_macs=spent,
    )


def _exit(outcomes: Outcomes, exit: int, left: Tensor) -> ExitFigures:
    count = int(left.sum())
    return ExitFigures(
        exit=exit,
        loss=float(outcomes.losses[exit].double().mean()),
        count=count,
        percent=_percent(left),
        top1=_percent(outcomes.top1[exit][left]) if count else None,
        top5=_percent(outcomes.top5[exit][left]) if count else None,
    )


def confusion(outcomes: Outcomes, taken: Tensor, classes: int) -> Tensor:
    """`[classes, classes]` int64: how often a label (row) was answered with a class (column), exits taken."""
    answered = outcomes.predictions[taken, torch.arange(outcomes.samples)]
    return torch.bincount(outcomes.labels * classes + answered, minlength=classes**2).view(classes, classes)


def _finite(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None


def _percent(hits: Tensor) -> float:
    return 100 * float(hits.double().mean())
