"""What a calibration is for: a goal says which policies it allows, which of those it prefers, and with what risk.

A goal without `delta` is judged on the calibration samples themselves (empirical). A goal with `delta` asks for a
finite-sample certificate: with probability at least `1 - delta` over the calibration samples, it holds for new ones.

To add one: a frozen dataclass derived from `Goal`. Without `delta` that is all, as the frontier serves every goal; a
goal that can be certified also needs its test, see `offramp.calibrators.learn_then_test`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Protocol, get_args

from offramp.errors import CalibrationError

DropTest = Literal["exact", "betting", "harm"]
"""How a drop is tested, see `offramp.calibrators.drop_tests`."""

ROUNDING = 1e-12
"""Slack in comparisons of figures that are sums of floats; far below one sample of any recording."""


class Figures(Protocol):
    """What a goal judges a policy by."""

    @property
    def accuracy(self) -> float:
        """Share of samples answered correctly."""

    @property
    def mean_macs(self) -> float:
        """Mean multiply-accumulates per sample, heads included."""


class Goal(ABC):
    """The contract between a goal and the calibrators."""

    name: ClassVar[str]
    """What the goal is called in JSON."""

    delta: float | None = None
    """Probability with which a certificate may be wrong; None where the goal is judged empirically."""

    @abstractmethod
    def allows(self, figures: Figures, plain: Figures) -> bool:
        """Whether a policy with these figures reaches the goal; `plain` are those of the network without exits."""

    @abstractmethod
    def preference(self, figures: Figures) -> tuple[float, float]:
        """Sort key among the policies that are allowed: the smallest is chosen."""

    @abstractmethod
    def describe(self) -> str:
        """The goal in words, for messages and reports."""

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters."""
        return {"name": self.name, **asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True)
class AccuracyDrop(Goal):
    """The least mean MACs at which accuracy falls at most `points` below that of the full network.

    `drop = P(full right) - P(policy right) = P(policy wrong, full right) - P(policy right, full wrong)`

    Args:
        points: largest drop, a share in [0, 1): 0.01 is one percentage point.
        delta: None judges the drop on the calibration samples. A number in (0, 1) asks for a certificate: with
            probability at least `1 - delta` the drop on new samples is at most `points`.
        test: how a certificate tests the drop. "exact" and "betting" test the drop itself; "harm" tests the
            stricter `P(policy wrong, full right) <= points`. Ignored without `delta`.

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

    def __post_init__(self) -> None:
        if self.points >= 1:
            raise CalibrationError(
                f"AccuracyDrop(points={self.points}): points are a share in [0, 1), so one percentage point is 0.01. "
                f"For {self.points:g} percentage points write AccuracyDrop({self.points / 100:g})."
            )
        if not self.points >= 0:
            raise CalibrationError(f"AccuracyDrop(points={self.points}) must be at least 0, e.g. 0.01 for one point.")
        if self.delta is not None and not 0 < self.delta < 1:
            raise CalibrationError(
                f"AccuracyDrop(delta={self.delta}) must lie between 0 and 1, e.g. 0.05; None for no certificate."
            )
        if self.test not in get_args(DropTest):
            raise CalibrationError(
                f"AccuracyDrop(test={self.test!r}) must be one of {', '.join(map(repr, get_args(DropTest)))}."
            )

    def allows(self, figures: Figures, plain: Figures) -> bool:
        """See `Goal.allows`."""
        return figures.accuracy >= plain.accuracy - self.points - ROUNDING

    def preference(self, figures: Figures) -> tuple[float, float]:
        """Fewest MACs first; of equals the more accurate."""
        return (figures.mean_macs, -figures.accuracy)

    def describe(self) -> str:
        """See `Goal.describe`."""
        risk = "judged on the calibration samples" if self.delta is None else f"certified at delta = {self.delta:g}"
        return f"accuracy drop of at most {100 * self.points:g} point(s), {risk}"


@dataclass(frozen=True)
class MACBudget(Goal):
    """The highest accuracy whose mean MACs, heads included, stay within a budget.

    Args:
        share: budget as a share of the plain network's MACs; above 1 it leaves room for the heads.
        macs: budget in multiply-accumulates per sample. Give exactly one of the two.

    Raises:
        CalibrationError: none or both are given, or the budget is not a positive number.

    Example:
        >>> MACBudget(share=0.3).describe()
        'mean MACs of at most 0.3 of the plain network'
    """

    name: ClassVar[str] = "mac_budget"

    share: float | None = None
    macs: float | None = None

    def __post_init__(self) -> None:
        if (self.share is None) == (self.macs is None):
            raise CalibrationError(
                f"MACBudget(share={self.share}, macs={self.macs}): give exactly one of share (of the plain network's "
                "MACs) and macs."
            )
        budget = self.macs if self.share is None else self.share
        if budget is None or not 0 < budget < math.inf:
            raise CalibrationError(f"MACBudget: the budget {budget} must be a positive, finite number.")

    def allows(self, figures: Figures, plain: Figures) -> bool:
        """See `Goal.allows`."""
        return figures.mean_macs <= self.limit(plain) * (1 + ROUNDING)

    def limit(self, plain: Figures) -> float:
        """The budget in MACs, given the figures of the plain network."""
        return self.macs if self.macs is not None else (self.share or 0.0) * plain.mean_macs

    def preference(self, figures: Figures) -> tuple[float, float]:
        """Highest accuracy first; of equals the cheaper."""
        return (-figures.accuracy, figures.mean_macs)

    def describe(self) -> str:
        """See `Goal.describe`."""
        if self.macs is not None:
            return f"mean MACs of at most {self.macs:,.0f}"
        return f"mean MACs of at most {self.share:g} of the plain network"
