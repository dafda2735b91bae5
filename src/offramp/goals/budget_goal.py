"""Goals that bound what is spent, and want the highest accuracy within that budget."""

from __future__ import annotations

import math
from abc import abstractmethod

from offramp.errors import CalibrationError
from offramp.goals.goal import ROUNDING, Figures, Goal


class BudgetGoal(Goal):
    """The highest accuracy whose mean cost, heads included, stays within a budget."""

    @abstractmethod
    def limit(self, plain: Figures) -> float:
        """The budget per sample, in the unit of `Goal.cost`, given the figures of the plain network."""

    def allows(self, figures: Figures, plain: Figures) -> bool:
        """See `Goal.allows`."""
        return figures.mean_macs <= self.limit(plain) * (1 + ROUNDING)

    def preference(self, figures: Figures) -> tuple[float, float]:
        """Highest accuracy first; of equals the cheaper."""
        return (-figures.accuracy, figures.mean_macs)

    def _check_budget(self, share: float | None, amount: float | None, unit: str) -> None:
        name = type(self).__name__
        if (share is None) == (amount is None):
            raise CalibrationError(
                f"{name}(share={share}, {unit}={amount}): give exactly one of share (of the plain network's) and "
                f"{unit}."
            )
        budget = amount if share is None else share
        self._check_number(unit if share is None else "share", budget)
        if budget is None or not 0 < budget < math.inf:
            raise CalibrationError(f"{name}: the budget {budget} must be a positive, finite number.")
        self._check_delta()
