"""Goals that bound what is lost by leaving early, and want the least cost within that bound."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from torch import Tensor

from offramp.errors import CalibrationError
from offramp.goals.goal import ROUNDING, Figures, Goal
from offramp.recording import Recording

DropTest = Literal["exact", "betting", "wsr", "hoeffding_bentkus", "harm"]
"""How a drop is tested, see `offramp.calibrators.drop_tests`."""


@dataclass(frozen=True, eq=False)
class Groups:
    """Samples in groups, each of which must keep the bound.

    Attributes:
        of: `[n]` group of each sample; None where all samples are one group.
        names: one per group, for messages.
    """

    of: Tensor | None
    names: tuple[str, ...]


EVERYBODY = Groups(None, ("all samples",))


class LossGoal(Goal):
    """The least mean cost at which not more than a bound is lost, overall or in every one of some groups.

    A loss is counted in paired outcomes: `worse` samples are right with the full network and wrong with the policy,
    `better` ones the reverse. What is bounded is `worse - better`, or `worse` alone for a goal on harm.
    """

    harm_only: ClassVar[bool] = False
    """Whether `better` counts for nothing."""

    @property
    def drop_test(self) -> DropTest:
        """How a certificate tests the loss."""
        return "harm"

    @abstractmethod
    def bound(self, plain_accuracy: float) -> float:
        """Largest loss, a share of the samples, where the full network has this accuracy."""

    def level(self, full_right: int, samples: int) -> tuple[float, float]:
        """Loss to test and level to test at, where the full network is right so often; valid for every truth.

        Raises:
            CalibrationError: the goal has no delta.
        """
        if self.delta is None:
            raise CalibrationError(f"{self!r} has no delta: there is nothing to certify. Give delta, e.g. 0.05.")
        return self.bound(full_right / samples), self.delta

    def groups(self, recording: Recording, tuning: Recording | None) -> Groups:
        """Groups that must keep the bound one by one."""
        return EVERYBODY

    def keeps(self, worse: np.ndarray, better: np.ndarray, sizes: np.ndarray, plain_accuracy: float) -> bool:
        """Whether the loss in every group `[groups]` is within the bound on these samples."""
        lost = worse if self.harm_only else worse - better
        return bool((lost <= (self.bound(plain_accuracy) + ROUNDING) * sizes).all())

    def allows(self, figures: Figures, plain: Figures) -> bool:
        """See `Goal.allows`: the drop overall, which a bound on groups implies."""
        return figures.accuracy >= plain.accuracy - self.bound(plain.accuracy) - ROUNDING

    def preference(self, figures: Figures) -> tuple[float, float]:
        """Least cost first; of equals the more accurate."""
        return (figures.mean_macs, -figures.accuracy)

    def _check_points(self, points: float) -> None:
        name = type(self).__name__
        self._check_number("points", points)
        if points >= 1:
            raise CalibrationError(
                f"{name}(points={points}): points are a share in [0, 1), so one percentage point is 0.01. "
                f"For {points:g} percentage points write {name}({points / 100:g})."
            )
        if not points >= 0:
            raise CalibrationError(f"{name}(points={points}) must be at least 0, e.g. 0.01 for one point.")
        self._check_delta()
        if self.drop_test not in get_args(DropTest):
            raise CalibrationError(
                f"{name}(test={self.drop_test!r}) must be one of {', '.join(map(repr, get_args(DropTest)))}."
            )
