"""What a search over compressions is made of: moves it asks for, evaluations it gets, reasons to stop.

A search is a function of `evaluate` that returns why it stopped. It holds no model and trains nothing: `evaluate` does,
and the runner that provides it can replay what was evaluated before, which is how an interrupted search goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Stop(StrEnum):
    """Why a search ended."""

    CRITERION = "criterion"
    """The metric holds, on a fully compressed model."""
    EPOCHS = "epochs"
    """All epochs that were allowed are trained."""
    EARLY_STOPPING = "early_stopping"
    """The caller's function said so."""
    RESOLUTION = "resolution"
    """The next step of the rate would be smaller than the smallest that was asked for."""
    MAXIMAL_RATE = "maximal_rate"
    """There is nothing left to take."""
    MINIMAL_RATE = "minimal_rate"
    """Not even the lowest rate holds."""
    HOPELESS = "hopeless"
    """At the pace of the last epochs the metric cannot hold before the epochs end."""


@dataclass(frozen=True)
class Move:
    """What is to be done next; the parts in this order.

    Attributes:
        to_best: whether the best model so far (by `Loop.prefers`) is loaded first; else it goes on from here.
        rate: compression rate that is set, with a fresh optimizer; None leaves it as it is.
        lr_factor: on the learning rate of a fresh optimizer.
        train: whether an epoch is trained.
        validate: whether the model is validated then.
    """

    to_best: bool = False
    rate: float | None = None
    lr_factor: float = 1.0
    train: bool = True
    validate: bool = True


class Evaluation(NamedTuple):
    """How the model is after a move.

    Attributes:
        number: of this evaluation, from 0.
        epoch: epochs trained so far, those of all rates together.
        metric: what the validation gave; of the last one, where this move did not validate.
        budget: distance to the worst tolerable metric; negative where it does not hold.
        full: whether the model is fully compressed.
        nominal: rate asked for; None where nothing has a rate.
        achieved: rate measured on the model; None likewise.
        stop: whether the caller's early stopping says stop.
    """

    number: int
    epoch: int
    metric: float
    budget: float
    full: bool
    nominal: float | None
    achieved: float | None
    stop: bool = False

    @property
    def holds(self) -> bool:
        """Whether this model may be returned as a success."""
        return self.full and self.budget >= 0

    @property
    def rate(self) -> float:
        """The achieved rate; 0 where nothing has a rate."""
        return self.achieved or 0.0


Evaluate = Callable[[Move], Evaluation]

AS_IT_IS = Move(train=False)


def better(one: Evaluation, other: Evaluation | None) -> bool:
    """Whether a model is more accurate than the best so far; only fully compressed ones ever are."""
    return one.full and (other is None or one.budget > other.budget)


def smaller(one: Evaluation, other: Evaluation | None) -> bool:
    """Whether a model is a better result of a search over rates.

    A model that holds beats one that does not; among those that hold the highest achieved rate wins, then the metric;
    among the others the metric.
    """
    if not one.full:
        return False
    return other is None or _worth(one) > _worth(other)


def _worth(one: Evaluation) -> tuple[float, ...]:
    return (1.0, one.rate, one.budget) if one.holds else (0.0, one.budget, one.rate)
