"""The settings that every loop has: the degradation that is allowed, and when it is looked at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

from offramp.compression.loops.search import Evaluate, Evaluation, Stop
from offramp.compression.settings import SettingsError, described, place, problems, setting
from offramp.compression.tolerance import DIRECTIONS, Direction, Tolerance
from offramp.errors import CompressionError
from offramp.registry import Registry

DEFAULT_RELATIVE = 1.0
"""Percent that a model may lose where nothing else is said in Python; configurations must say."""


class Bounds(NamedTuple):
    """Lowest and highest rate that a search may ask for."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Loop(ABC):
    """Settings of a loop; `search` is the loop itself.

    Args:
        maximal_relative_accuracy_degradation: allowed, in percent of the uncompressed model's metric.
        maximal_absolute_accuracy_degradation: allowed, in units of the metric; excludes the relative one.
        maximal_total_epochs: epochs trained at most.
        validate_every_n_epochs: how often the model is validated while it trains; the last epoch always is.
        direction: whether to "maximise" or "minimise" the metric.

    Raises:
        CompressionError: a setting is impossible; all are named at once.
    """

    searches_rate: ClassVar[bool] = False
    """Whether it moves the compression rate, which takes an algorithm that has one."""

    maximal_relative_accuracy_degradation: float | None = setting(None, least=0, below=100)
    maximal_absolute_accuracy_degradation: float | None = setting(None, least=0)
    maximal_total_epochs: int = setting(10_000, least=1)
    validate_every_n_epochs: int = setting(1, least=1)
    direction: Direction = setting("maximise", choices=DIRECTIONS)

    def __post_init__(self) -> None:
        if self._limits() == (None, None):
            object.__setattr__(self, "maximal_relative_accuracy_degradation", DEFAULT_RELATIVE)
        # Relations between fields make sense only once each field does.
        found = list(problems(self)) or list(self.conflicts())
        if found:
            raise SettingsError(type(self), found)

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Field and problem wherever settings that are fine alone do not go together."""
        relative, absolute = self._limits()
        if relative is not None and absolute is not None:
            yield (
                "maximal_absolute_accuracy_degradation",
                f"is {absolute!r} while maximal_relative_accuracy_degradation is {relative!r}: give one of the two",
            )

    def _limits(self) -> tuple[float | None, float | None]:
        return self.maximal_relative_accuracy_degradation, self.maximal_absolute_accuracy_degradation

    def tolerance(self, baseline: float) -> Tolerance:
        """The criterion, for a model whose metric was `baseline` before it was compressed.

        Raises:
            CompressionError: there can be no such criterion.
        """
        relative, absolute = self._limits()
        return Tolerance(baseline, relative, absolute, self.direction)

    def tolerated(self, now: Evaluation) -> float:
        """How much may be lost, in units of the metric, as follows from any evaluation of a run.

        Example: at 1 % relative, a metric of 0.8 that is 0.19 below the limit, which then is 0.99, tolerates 0.01.
        """
        relative, absolute = self._limits()
        if absolute is not None:
            return absolute
        sign = 1 if self.direction == "maximise" else -1
        worst = now.metric - sign * now.budget
        return abs(worst) * (relative or 0.0) / (100 - sign * (relative or 0.0))

    @abstractmethod
    def search(self, evaluate: Evaluate, bounds: Bounds) -> Stop:
        """Runs the loop; the result is the model that it prefers to all others.

        Args:
            evaluate: makes a move and tells how the model is then.
            bounds: of the rates that may be set.

        Returns:
            Why it ended.
        """

    @abstractmethod
    def prefers(self, one: Evaluation, other: Evaluation | None) -> bool:
        """Whether a model is better than the best so far; never one that is not fully compressed."""

    def places(self) -> dict[str, str]:
        """Where each field stands in a configuration, by its name."""
        return {name: place(name, about) for name, (about, _) in described(type(self)).items()}

    def to_dict(self) -> dict[str, Any]:
        """Name and settings, to recognise a run that is resumed."""
        return {"mode": LOOPS.name_of(type(self)), **{name: getattr(self, name) for name in described(type(self))}}


LOOPS: Registry[type[Loop]] = Registry("loop", CompressionError)

Member = TypeVar("Member", bound=type[Loop])


def register(member: Member) -> Member:
    """Class decorator that files a loop under its name in snake case, which is its mode in configurations."""
    LOOPS.register(member)
    return member
