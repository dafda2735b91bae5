"""The goal of most users: spend little, lose at most so many points of accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from offramp.binomial import lower_bound
from offramp.errors import CalibrationError
from offramp.goals.goal import register
from offramp.goals.loss_goal import DropTest, LossGoal

ACCURACY_SHARE = 0.05
"""Part of delta that a relative drop spends on bounding the full network's accuracy from below."""


@register
@dataclass(frozen=True)
class AccuracyDrop(LossGoal):
    """The least mean MACs at which accuracy falls at most `points` below that of the full network.

    `drop = P(full right) - P(policy right) = P(policy wrong, full right) - P(policy right, full wrong)`

    Args:
        points: largest drop, a share in [0, 1): 0.01 is one percentage point.
        delta: None judges the drop on the calibration samples. A number in (0, 1) asks for a certificate: with
            probability at least `1 - delta` the drop on new samples is at most `points`.
        test: how a certificate tests the drop. "harm" tests the stricter `P(policy wrong, full right) <= points`, the
            others the drop itself, see `offramp.calibrators.drop_tests`. Ignored without `delta`.
        relative: `points` is a share of the full network's accuracy, not of the samples: 0.01 allows 0.9 percentage
            points to a network of 90 %. A certificate bounds that accuracy from below, with 5 % of delta.

    Raises:
        CalibrationError: a parameter is out of range.

    Example:
        >>> AccuracyDrop(0.01, delta=0.05).describe()
        'accuracy drop of at most 1 point(s), certified at delta = 0.05'
    """

    name: ClassVar[str] = "accuracy_drop"

    points: float
    delta: float | None = None
    test: DropTest = "exact"
    relative: bool = False

    def __post_init__(self) -> None:
        self._check_points(self.points)
        if not isinstance(self.relative, bool):
            raise CalibrationError(
                f"AccuracyDrop(relative={self.relative!r}) must be True or False; the size of the drop is `points`."
            )

    @property
    def drop_test(self) -> DropTest:
        """See `LossGoal.drop_test`."""
        return self.test

    def bound(self, plain_accuracy: float) -> float:
        """See `LossGoal.bound`."""
        return self.points * plain_accuracy if self.relative else self.points

    def level(self, full_right: int, samples: int) -> tuple[float, float]:
        """See `LossGoal.level`; for a relative drop the accuracy and the drop are wrong with `delta` together."""
        bound, delta = super().level(full_right, samples)
        if not self.relative:
            return bound, delta
        spent = ACCURACY_SHARE * delta
        return self.points * lower_bound(samples, full_right, spent), delta - spent

    def describe(self) -> str:
        """See `Goal.describe`."""
        size = f"{100 * self.points:g}" + (" % of the full network's" if self.relative else " point(s)")
        return f"accuracy drop of at most {size}, {self._risk()}"

    def promise(self) -> str:
        """See `Goal.promise`."""
        if self.relative:
            return f"accuracy on new samples is at least {100 * (1 - self.points):g} % of that of the plain network"
        points = f"{100 * self.points:g} percentage point{'' if self.points == 0.01 else 's'}"
        return f"accuracy on new samples is at most {points} below that of the plain network"
