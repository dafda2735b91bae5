"""How a compression rate moves from epoch to epoch: pure functions of the epoch.

Epochs count from 0; 1.5 is half-way through the second one.

Every schedule gives the rate of the epoch about to be trained. `finished` tells from when on it is at its target, so
that an epoch counts as fully compressed.
"""

from __future__ import annotations

import bisect
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from offramp.errors import CompressionError

CLOSE = 1e-9


class Schedule(ABC):
    """A rate by epoch; members are frozen dataclasses.

    Attributes:
        target: rate at the end.
    """

    target: float

    @abstractmethod
    def rate(self, epoch: float) -> float:
        """Rate of an epoch, a share in [0, 1]."""

    def finished(self, epoch: float) -> bool:
        """Whether the target is reached in this epoch."""
        return abs(self.rate(epoch) - self.target) <= CLOSE


@dataclass(frozen=True)
class Baseline(Schedule):
    """The initial rate for `warm_up` epochs, then the target at once.

    Args:
        initial: rate before.
        target: rate after.
        warm_up: epochs at the initial rate.

    Example:
        >>> [Baseline(0.1, 0.5, warm_up=1).rate(epoch) for epoch in range(3)]
        [0.1, 0.5, 0.5]
    """

    initial: float
    target: float
    warm_up: int = 0

    def rate(self, epoch: float) -> float:
        """See `Schedule.rate`."""
        return self.initial if epoch < self.warm_up else self.target


@dataclass(frozen=True)
class Exponential(Schedule):
    """The density d = 1 - rate falls by the same factor every epoch: `d0 (dT / d0)^(e / last)`.

    Args:
        initial: rate at epoch `warm_up`.
        target: rate at epoch `warm_up + last` and after.
        last: epochs between the two; 0 is the target at once.
        warm_up: epochs at the initial rate before.

    Source: NNCF's exponential schedules of pruning (last = pruning_steps - 1) and sparsity.

    Example:
        >>> [round(Exponential(0.0, 0.75, last=2).rate(epoch), 3) for epoch in range(4)]
        [0.0, 0.5, 0.75, 0.75]
    """

    initial: float
    target: float
    last: int
    warm_up: int = 0

    def rate(self, epoch: float) -> float:
        """See `Schedule.rate`."""
        done = epoch - self.warm_up
        if done >= self.last and done >= 0:
            return self.target
        if done <= 0:
            return self.initial
        first, final = 1 - self.initial, 1 - self.target
        return float(1 - first * (final / first) ** (done / self.last))


@dataclass(frozen=True)
class ExponentialWithBias(Schedule):
    """`a exp(-k e) + b`: the initial rate at 0, 3/4 of the target after an eighth of the way, the target at the end.

    Args:
        initial: rate at epoch `warm_up`.
        target: rate at epoch `warm_up + last` and after.
        last: epochs between the two.
        warm_up: epochs at the initial rate before.

    Where the initial rate is not below 3/4 of the target there is no such curve through the three points; then the
    middle point is dropped and the rate is that of `Exponential`.

    Source: NNCF, `exponential_with_bias`; its constants are found here by bisection on k.

    Example:
        >>> [round(ExponentialWithBias(0.0, 0.8, last=8).rate(epoch), 3) for epoch in (0, 1, 8)]
        [0.0, 0.6, 0.8]
    """

    initial: float
    target: float
    last: int
    warm_up: int = 0

    def rate(self, epoch: float) -> float:
        """See `Schedule.rate`."""
        if self.last < 1 or self.initial >= 0.75 * self.target:
            return Exponential(self.initial, self.target, self.last, self.warm_up).rate(epoch)
        share = min(max((epoch - self.warm_up) / self.last, 0.0), 1.0)
        steepness = _steepness((0.75 * self.target - self.initial) / (self.target - self.initial))
        return self.initial + (self.target - self.initial) * math.expm1(-steepness * share) / math.expm1(-steepness)


def _steepness(height: float) -> float:
    """The k with `(1 - exp(-k / 8)) / (1 - exp(-k)) = height`, which rises in k from 1/8 to 1; flat below."""
    low, high = 1e-6, 200.0
    for _ in range(100):
        middle = (low + high) / 2
        reached = math.expm1(-middle / 8) / math.expm1(-middle)
        low, high = (middle, high) if reached < height else (low, middle)
    return low


@dataclass(frozen=True)
class Polynomial(Schedule):
    """Progress p = e / last: concave `T - (T - I)(1 - p)^power`, fast at first; or convex `I + (T - I) p^power`.

    Args:
        initial: rate at epoch 0, I.
        target: rate at epoch `last` and after, T.
        last: epochs between the two; 0 is the target at once.
        power: of the polynomial, above 0.
        concave: whether the rate rises fast at first.

    Example:
        >>> [Polynomial(0.0, 0.5, last=2, power=2).rate(epoch) for epoch in range(3)]
        [0.0, 0.375, 0.5]
    """

    initial: float
    target: float
    last: int
    power: float = 0.9
    concave: bool = True

    def rate(self, epoch: float) -> float:
        """See `Schedule.rate`."""
        progress = 1.0 if self.last < 1 else min(max(epoch, 0) / self.last, 1.0)
        share = 1 - (1 - progress) ** self.power if self.concave else progress**self.power
        return float(self.initial + (self.target - self.initial) * share)


@dataclass(frozen=True)
class Staircase(Schedule):
    """Rises by a step every `patience` epochs.

    Args:
        initial: rate at epoch 0.
        target: rate at the end.
        patience: epochs between two steps, at least 1.
        step: of the rate.

    Source: NNCF's `adaptive` schedule (step 0.05) where the rate asked for is always achieved at once.

    Example:
        >>> [round(Staircase(0.3, 0.4, patience=2).rate(epoch), 2) for epoch in range(5)]
        [0.3, 0.3, 0.35, 0.35, 0.4]
    """

    initial: float
    target: float
    patience: int = 1
    step: float = 0.05

    def rate(self, epoch: float) -> float:
        """See `Schedule.rate`."""
        return min(self.target, self.initial + self.step * (epoch // self.patience))


@dataclass(frozen=True)
class Multistep(Schedule):
    """One level per stretch of epochs.

    Args:
        steps: epochs at which the next level begins, rising.
        levels: rates, one more than steps.

    Raises:
        CompressionError: steps do not rise, or the counts do not fit.

    Example:
        >>> [Multistep((2,), (0.1, 0.5)).rate(epoch) for epoch in range(4)]
        [0.1, 0.1, 0.5, 0.5]
    """

    steps: tuple[int, ...]
    levels: tuple[float, ...]
    target: float = field(init=False)

    def __post_init__(self) -> None:
        if (wrong := multistep_problem(self.steps, self.levels)) is not None:
            raise CompressionError(f"Multistep: {wrong}.")
        object.__setattr__(self, "target", self.levels[-1])

    def rate(self, epoch: float) -> float:
        """See `Schedule.rate`."""
        return self.levels[bisect.bisect_right(self.steps, epoch)]


def multistep_problem(steps: Sequence[int], levels: Sequence[float]) -> str | None:
    """Why these steps and levels do not go together; None where they do."""
    if len(levels) != len(steps) + 1:
        return f"{len(steps)} steps {list(steps)} need {len(steps) + 1} levels; {list(levels)} are {len(levels)}"
    if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        return f"the steps {list(steps)} must rise"
    return None
