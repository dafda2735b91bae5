"""A bound that holds on average over calibrations, and is named so: conformal risk control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from offramp.goals.goal import register
from offramp.goals.loss_goal import LossGoal


@register
@dataclass(frozen=True)
class ExpectedHarm(LossGoal):
    """The least mean MACs at which the harm is at most `points` **on average over calibrations**.

    Harm is `P(policy wrong, full right)`. The average is over the calibration samples and a new one together: any
    single calibration may exceed `points`, and about half of them do. There is no `delta`; ask `AccuracyDrop` for one.

    Args:
        points: largest expected harm, a share in [0, 1).

    Raises:
        CalibrationError: a parameter is out of range.

    Example:
        >>> ExpectedHarm(0.01).describe()
        'harm of at most 1 % on average over calibrations (not for each of them)'
    """

    name: ClassVar[str] = "expected_harm"
    harm_only: ClassVar[bool] = True

    points: float

    def __post_init__(self) -> None:
        self._check_points(self.points)

    @property
    def promises(self) -> bool:
        """A mean is promised, without a delta."""
        return True

    def bound(self, plain_accuracy: float) -> float:
        """See `LossGoal.bound`."""
        return self.points

    def describe(self) -> str:
        """See `Goal.describe`."""
        return f"harm of at most {100 * self.points:g} % on average over calibrations (not for each of them)"

    def promise(self) -> str:
        """See `Goal.promise`."""
        return (
            f"on average over calibrations at most {100 * self.points:g} % of new samples are answered wrongly where "
            "the plain network is right"
        )
