"""The contract between a goal and the calibrators, and the registry that names goals in JSON."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from numbers import Real
from typing import Any, ClassVar, Protocol, TypeVar

from torch import Tensor

from offramp.cost import Cost
from offramp.errors import CalibrationError
from offramp.recording import Recording
from offramp.registry import Registry

ROUNDING = 1e-12
"""Slack in comparisons of figures that are sums of floats; far below one sample of any recording."""


class Figures(Protocol):
    """What a goal judges a policy by."""

    @property
    def accuracy(self) -> float:
        """Share of samples answered rightly: as `Goal.truth` has it."""

    @property
    def mean_macs(self) -> float:
        """Mean cost per sample, heads included: in MACs, unless `Goal.cost` counts otherwise."""


class Goal(ABC):
    """The contract between a goal and the calibrators."""

    name: ClassVar[str]
    """What the goal is called in JSON."""

    delta: float | None = None
    """Probability with which a certificate may be wrong; None where the goal is judged empirically."""

    def truth(self, recording: Recording) -> Tensor:
        """`[n]` class indices that count as right answers: the labels, unless a goal can do without.

        Raises:
            RecordingError: the recording has no labels.
        """
        return recording.required_labels

    def cost(self, recording: Recording) -> Cost:
        """What is spent: MACs, unless a goal counts otherwise."""
        return recording.cost

    @property
    def promises(self) -> bool:
        """Whether something is promised for new samples; the policies tried must then not depend on these."""
        return self.delta is not None

    @abstractmethod
    def allows(self, figures: Figures, plain: Figures) -> bool:
        """Whether a policy with these figures reaches the goal; `plain` are those of the network without exits."""

    @abstractmethod
    def preference(self, figures: Figures) -> tuple[float, float]:
        """Sort key among the policies that are allowed: the smallest is chosen."""

    @abstractmethod
    def describe(self) -> str:
        """The goal in words, for messages and reports."""

    @abstractmethod
    def promise(self) -> str:
        """What a certificate says of new samples, as a clause."""

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters, the inverse of `goal_from_dict`."""
        return {"name": self.name, **asdict(self)}  # type: ignore[call-overload]

    def _check_number(self, name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise CalibrationError(f"{type(self).__name__}({name}={value!r}) must be a number, e.g. 0.05.")

    def _check_delta(self) -> None:
        if self.delta is not None:
            self._check_number("delta", self.delta)
        if self.delta is not None and not 0 < self.delta < 1:
            raise CalibrationError(
                f"{type(self).__name__}(delta={self.delta}) must lie between 0 and 1, e.g. 0.05; None for no "
                "certificate."
            )

    def _risk(self) -> str:
        return "judged on the calibration samples" if self.delta is None else f"certified at delta = {self.delta:g}"


GOALS: Registry[type[Goal]] = Registry("goal", CalibrationError)

Member = TypeVar("Member", bound=type[Goal])


def register(member: Member) -> Member:
    """Class decorator that files a goal."""
    GOALS.register(member)
    return member


def goal_from_dict(data: Mapping[str, Any]) -> Goal:
    """Builds a goal from what `Goal.to_dict` wrote.

    Example:
        >>> from offramp.goals import MACBudget
        >>> goal_from_dict({"name": "mac_budget", "share": 0.5})
        MACBudget(share=0.5, macs=None, delta=None)
    """
    parameters = dict(data)
    asked = parameters.pop("name", None)
    kind = next((member for member in GOALS.values() if member.name == asked), None)
    try:
        if kind is not None:
            return kind(**parameters)
    except TypeError as error:
        raise CalibrationError(f"Not a goal: {data!r} ({error}).") from error
    raise CalibrationError(f"There is no goal {asked!r}. Known: {', '.join(member.name for member in GOALS.values())}.")
