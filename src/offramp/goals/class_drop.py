"""A ceiling on what any one class may lose: an average can hide a class that pays for all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from offramp.goals.goal import register
from offramp.goals.loss_goal import DropTest, Groups, LossGoal
from offramp.recording import Recording


@register
@dataclass(frozen=True)
class ClassDrop(LossGoal):
    """The least mean MACs at which the accuracy of every class falls at most `points`.

    A certificate tests each class at level delta on the samples of that class, and needs all of them: that some class
    loses too much is then rejected at level delta, without a correction for their number (intersection-union test).

    Args:
        points: largest drop of any class, a share of its samples in [0, 1).
        delta: None judges it on the calibration samples; a number in (0, 1) asks for a certificate.
        test: see `AccuracyDrop`.

    Raises:
        CalibrationError: a parameter is out of range.

    Source: Berger 1982, "Multiparameter hypothesis testing and acceptance sampling", for the test.

    Example:
        >>> ClassDrop(0.03).describe()
        'accuracy drop of at most 3 point(s) in every class, judged on the calibration samples'
    """

    name: ClassVar[str] = "class_drop"

    points: float
    delta: float | None = None
    test: DropTest = "exact"

    def __post_init__(self) -> None:
        self._check_points(self.points)

    @property
    def drop_test(self) -> DropTest:
        """See `LossGoal.drop_test`."""
        return self.test

    def bound(self, plain_accuracy: float) -> float:
        """See `LossGoal.bound`."""
        return self.points

    def groups(self, recording: Recording, tuning: Recording | None) -> Groups:
        """The classes."""
        return Groups(recording.required_labels, tuple(f"class {c}" for c in range(recording.classes)))

    def describe(self) -> str:
        """See `Goal.describe`."""
        return f"accuracy drop of at most {100 * self.points:g} point(s) in every class, {self._risk()}"

    def promise(self) -> str:
        """See `Goal.promise`."""
        return f"no class loses more than {100 * self.points:g} percentage points of accuracy on new samples"
