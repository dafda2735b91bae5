"""The most accuracy for a given mean time, as it was measured at a stated batch size on a stated device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from offramp.cost import Cost
from offramp.errors import CalibrationError
from offramp.goals.budget_goal import BudgetGoal
from offramp.goals.goal import Figures, register
from offramp.latency import ExitTimes
from offramp.recording import Recording


@register
@dataclass(frozen=True)
class LatencyBudget(BudgetGoal):
    """The highest accuracy whose mean measured time per sample stays within a budget.

    Args:
        times: of leaving at each exit, measured at one batch size on one device, see `offramp.exit_times`.
        share: budget as a share of the plain network's time.
        seconds: budget in seconds per sample. Give exactly one of the two.
        delta: None judges the mean on the calibration samples; a number in (0, 1) asks for a certificate of the mean
            over samples; the times themselves are taken as measured.

    Raises:
        CalibrationError: none or both are given, or the budget is not a positive number.

    Example:
        >>> times = ExitTimes((0.002, 0.005), (0.001,), batch=1, device="cpu")
        >>> LatencyBudget(times, share=0.75).describe()
        'mean time of at most 0.75 of the plain network (batch 1, cpu), judged on the calibration samples'
    """

    name: ClassVar[str] = "latency_budget"

    times: ExitTimes
    share: float | None = None
    seconds: float | None = None
    delta: float | None = None

    def __post_init__(self) -> None:
        self._check_budget(self.share, self.seconds, "seconds")
        if isinstance(self.times, Mapping):  # as it comes back from JSON
            object.__setattr__(self, "times", ExitTimes(**self.times))

    def cost(self, recording: Recording) -> Cost:
        """Seconds instead of MACs.

        Raises:
            CalibrationError: the times are of another number of exits.
        """
        if len(self.times.seconds) != recording.exits:
            raise CalibrationError(
                f"LatencyBudget(times=...) has {len(self.times.seconds)} exits, the recording has {recording.exits}; "
                "measure the model that was recorded, with offramp.exit_times(model, inputs)."
            )
        return self.times.cost

    def limit(self, plain: Figures) -> float:
        """See `BudgetGoal.limit`."""
        return self.seconds if self.seconds is not None else (self.share or 0.0) * plain.mean_macs

    def to_dict(self) -> dict[str, Any]:
        """See `Goal.to_dict`."""
        return {**super().to_dict(), "times": self.times.to_dict()}

    def describe(self) -> str:
        """See `Goal.describe`."""
        where = f"batch {self.times.batch}, {self.times.device}"
        if self.seconds is not None:
            return f"mean time of at most {1000 * self.seconds:.4g} ms per sample ({where}), {self._risk()}"
        return f"mean time of at most {self.share:g} of the plain network ({where}), {self._risk()}"

    def promise(self) -> str:
        """See `Goal.promise`."""
        return self.describe().replace(f", {self._risk()}", " on new samples")
