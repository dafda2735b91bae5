"""The most accuracy for a given mean number of multiply-accumulates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from offramp.goals.budget_goal import BudgetGoal
from offramp.goals.goal import Figures, register


@register
@dataclass(frozen=True)
class MACBudget(BudgetGoal):
    """The highest accuracy whose mean MACs, heads included, stay within a budget.

    Args:
        share: budget as a share of the plain network's MACs; above 1 it leaves room for the heads.
        macs: budget in multiply-accumulates per sample. Give exactly one of the two.
        delta: None judges the mean on the calibration samples; a number in (0, 1) asks for a certificate.

    Raises:
        CalibrationError: none or both are given, or the budget is not a positive number.

    Example:
        >>> MACBudget(share=0.3).describe()
        'mean MACs of at most 0.3 of the plain network, judged on the calibration samples'
    """

    name: ClassVar[str] = "mac_budget"

    share: float | None = None
    macs: float | None = None
    delta: float | None = None

    def __post_init__(self) -> None:
        self._check_budget(self.share, self.macs, "macs")

    def limit(self, plain: Figures) -> float:
        """See `BudgetGoal.limit`."""
        return self.macs if self.macs is not None else (self.share or 0.0) * plain.mean_macs

    def describe(self) -> str:
        """See `Goal.describe`."""
        if self.macs is not None:
            return f"mean MACs of at most {self.macs:,.0f}, {self._risk()}"
        return f"mean MACs of at most {self.share:g} of the plain network, {self._risk()}"

    def promise(self) -> str:
        """See `Goal.promise`."""
        return self.describe().replace(f", {self._risk()}", " on new samples")
