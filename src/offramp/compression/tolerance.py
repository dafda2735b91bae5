"""How much worse than the uncompressed model a compressed one may be, and how much of that is left."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from offramp.errors import CompressionError

if TYPE_CHECKING:
    from offramp.compression.outcome import Outcome

Direction = Literal["maximise", "minimise"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


@dataclass(frozen=True)
class Tolerance:
    """The criterion of accuracy-aware training.

    A metric holds when its *budget*, the distance to the worst tolerable metric, is not negative. That worst one is
    `baseline -+ absolute`, or `baseline -+ |baseline| * relative / 100`: below the baseline where the metric is
    maximised (accuracy), above it where it is minimised (perplexity).

    Args:
        baseline: metric of the uncompressed model.
        relative: degradation allowed, in percent of the baseline; exactly one of the two is given.
        absolute: degradation allowed, in the metric's own units.
        direction: whether a higher ("maximise") or a lower metric is better.

    Raises:
        CompressionError: not exactly one limit, a negative one, a baseline that is no number, or a relative limit to
            a baseline that is not positive.

    Source: NNCF 2.19, accuracy-aware training. Differs in that the direction is stated, not assumed.

    Example:
        >>> Tolerance(baseline=90.0, relative=1.0).worst
        89.1
        >>> Tolerance(baseline=20.0, absolute=0.5, direction="minimise").budget(20.25)
        0.25
    """

    baseline: float
    relative: float | None = None
    absolute: float | None = None
    direction: Direction = "maximise"

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise CompressionError(f"direction={self.direction!r}: allowed are {', '.join(map(repr, DIRECTIONS))}.")
        if (self.relative is None) == (self.absolute is None):
            raise CompressionError(
                "Give exactly one of the relative and the absolute degradation that is allowed; got "
                f"relative={self.relative!r}, absolute={self.absolute!r}."
            )
        limit = self.relative if self.absolute is None else self.absolute
        if not _is_number(limit) or float(limit or 0) < 0:
            raise CompressionError(f"The degradation that is allowed must be a number of at least 0; it is {limit!r}.")
        self._check_baseline()

    def _check_baseline(self) -> None:
        if not _is_number(self.baseline):
            raise CompressionError(
                f"The uncompressed model's metric must be a finite number; it is {self.baseline!r}. Validate the model "
                "before it is compressed, and pass what comes out."
            )
        if self.relative is not None and self.baseline <= 0:
            raise CompressionError(
                f"The uncompressed model's metric is {self.baseline:g}: a share of that is no limit. Give the absolute "
                "degradation instead (maximal_absolute_accuracy_degradation), or a metric above 0."
            )

    @property
    def worst(self) -> float:
        """The worst metric that is tolerated."""
        allowed = self.absolute if self.absolute is not None else self.baseline * 0.01 * float(self.relative or 0)
        return self.baseline - self.sign * allowed

    @property
    def sign(self) -> int:
        """+1 where higher is better, -1 where lower is."""
        return 1 if self.direction == "maximise" else -1

    def budget(self, metric: float) -> float:
        """Distance to the worst tolerable metric, in the metric's units; negative where it does not hold."""
        return self.sign * (metric - self.worst)

    def degradation(self, metric: float) -> float:
        """How much worse than the baseline, in the metric's units; negative where it is better."""
        return self.sign * (self.baseline - metric)

    def relative_degradation(self, metric: float) -> float:
        """The same in percent of the baseline; 0 where the baseline is 0."""
        return 100 * self.degradation(metric) / abs(self.baseline) if self.baseline else 0.0


class DivergedError(CompressionError):
    """A metric or a loss that is no finite number; `outcome` has the best model before."""

    def __init__(self, message: str, outcome: Outcome | None = None) -> None:
        super().__init__(message)
        self.outcome = outcome


def checked_metric(value: object, epoch: int) -> float:
    """What a validation function returned, as a number.

    Raises:
        CompressionError: it is none; the message names the epoch.
        DivergedError: it is not finite.
    """
    try:
        # Tensors and NumPy scalars are fine too.
        metric = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise CompressionError(
            f"The validation function returned {value!r} at epoch {epoch}; it must return the metric, one number."
        ) from error
    if not math.isfinite(metric):
        raise DivergedError(
            f"The validation function returned {metric} at epoch {epoch}: the model has diverged, or the metric is "
            "undefined. Lower the learning rate or the compression; the checkpoint before this epoch is kept."
        )
    return metric


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
