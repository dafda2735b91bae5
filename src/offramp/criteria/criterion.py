"""The contract of a criterion, and the registry that names its members in JSON and on the command line."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from offramp.errors import PolicyError
from offramp.registry import Registry


class Criterion(ABC):
    """Scores how sure an exit is of each sample; larger = surer.

    Members are frozen dataclasses: their fields are their parameters and go into JSON. There is no label
    argument, and there never will be one. `score` must be built of tensor operations on rows, so that it is
    exported with the model and does not depend on who else is in the batch.
    """

    uses_earlier: ClassVar[bool] = False
    """Whether `score` reads the earlier exits' logits; a runtime then keeps those of the rows still running."""

    @abstractmethod
    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """Confidence of each sample.

        Args:
            logits: `[n, classes]` of this exit, already divided by its temperature.
            earlier: logits `[n, classes]` of the exits evaluated before, earliest first, for the same rows;
                empty unless `uses_earlier`.

        Returns:
            `[n]`, larger = surer. NaN in gives NaN out, and NaN never leaves early.
        """

    @abstractmethod
    def grid(self, classes: int, size: int) -> list[float]:
        """Thresholds from the strictest to the loosest, fixed before any data is seen.

        Args:
            classes: number of classes, which bounds some scores.
            size: how many thresholds.
        """

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters, the inverse of `criterion_from_dict`."""
        return {"name": CRITERIA.name_of(type(self)), **asdict(self)}  # type: ignore[call-overload]


CRITERIA: Registry[type[Criterion]] = Registry("criterion", PolicyError)

Member = TypeVar("Member", bound=type[Criterion])


def register(member: Member) -> Member:
    """Class decorator that files a criterion under its name in snake case."""
    CRITERIA.register(member)
    return member


def criterion_from_dict(data: Mapping[str, Any]) -> Criterion:
    """Builds a criterion from what `Criterion.to_dict` wrote.

    Example:
        >>> criterion_from_dict({"name": "margin"})
        Margin()
    """
    try:
        parameters = dict(data)
        member = CRITERIA[parameters.pop("name")]
        return member(**parameters)
    except (KeyError, TypeError, ValueError) as error:
        raise PolicyError(f"Not a criterion: {data!r} ({error}). Known: {', '.join(CRITERIA)}.") from error


def log_odds(size: int, top: float = 11.5, bottom: float = -3.5) -> list[float]:
    """Shares in (0, 1), evenly spaced on the scale log(p / (1 - p)), largest first."""
    step = (top - bottom) / max(size - 1, 1)
    return [1 / (1 + math.exp(-(top - i * step))) for i in range(size)]
