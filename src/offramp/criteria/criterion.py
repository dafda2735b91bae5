"""The contract of a criterion, and the registry that names its members in JSON and on the command line."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import torch
from torch import Tensor

from offramp.errors import PolicyError
from offramp.registry import Registry


class Criterion(ABC):
    """Scores how sure an exit is of each sample; larger = surer. An ensemble also says what the exit answers.

    Members are frozen dataclasses: their fields are their parameters and go into JSON; a field may be a criterion, or
    a tuple of criteria. There is no label argument, and there never will be one. `score` and `answer` must be built of
    tensor operations on rows, so that they are exported with the model and do not depend on who else is in the batch.
    What a rule counts from exit to exit is computed from `earlier` each time: so it stays with its row when others
    leave.
    """

    @property
    def uses_earlier(self) -> bool:
        """Whether `score` or `answer` reads the earlier exits' logits.

        A runtime then keeps those of the rows still running, and runs the heads of all exits before an open one.
        """
        return False

    @property
    def combines(self) -> bool:
        """Whether `answer` is another than the exit's own logits; all heads then run, for the last exit reads them."""
        return False

    @property
    def graded(self) -> bool:
        """Whether an exit that gives more to its leading class never scores lower; not so for chance and distances."""
        return True

    def at(self, exit: int) -> Criterion:
        """The criterion as it is at one exit (0 = earliest, the last one included); itself where all are alike."""
        return self

    def opens(self, exit: int) -> bool:
        """Whether anybody may leave at this early exit; where not, its head need not run for its own sake."""
        return True

    def check(self, early_exits: int, classes: int) -> None:  # noqa: B027 - most take any model
        """Refuses a model that the criterion was not made for.

        Args:
            early_exits: number of exits before the backbone's own output.
            classes: number of logits.

        Raises:
            PolicyError: it is for another number of exits or classes.
        """

    @abstractmethod
    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """Confidence of each sample.

        Args:
            logits: `[n, classes]` of this exit, already divided by its temperature.
            earlier: logits `[n, classes]` of all exits before, earliest first, for the same rows, each divided by its
                own temperature; empty unless `uses_earlier`.

        Returns:
            `[n]`, larger = surer; -inf never leaves. NaN in gives NaN out, and NaN never leaves early.
        """

    def answer(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """What the exit answers: its own logits, unless the criterion `combines` them with those before.

        It is asked at every exit, the last one included.

        Args:
            logits: as for `score`.
            earlier: as for `score`.

        Returns:
            Logits `[n, classes]`.
        """
        return logits

    def judge(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
        """`(score, answer)`, which is what a runtime asks for: overridden where one is made of the other.

        Args:
            logits: as for `score`.
            earlier: as for `score`.
        """
        return self.score(logits, earlier), self.answer(logits, earlier)

    @property
    def hierarchical(self) -> bool:
        """Whether rows may be answered with a group of classes; `levels` then says with which kind of group."""
        return False

    def levels(self, logits: Tensor, threshold: float) -> Tensor:
        """`[n]` int64: how finely rows that leave an early exit are answered; 0 is the class itself.

        Args:
            logits: `[n, classes]` of this exit, divided by its temperature.
            threshold: of this exit.
        """
        return logits.new_zeros(logits.shape[:-1]).long()

    @abstractmethod
    def grid(self, classes: int, size: int) -> list[float]:
        """Thresholds from the strictest to the loosest, fixed before any data is seen.

        Args:
            classes: number of classes, which bounds some scores.
            size: how many thresholds, at most.
        """

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters, the inverse of `criterion_from_dict`."""
        parameters = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]
        return {"name": CRITERIA.name_of(type(self)), **parameters}


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
        parameters = {key: value if key == "name" else _built(value) for key, value in dict(data).items()}
        member = CRITERIA[parameters.pop("name")]
        return member(**parameters)
    except (KeyError, TypeError, ValueError) as error:
        raise PolicyError(f"Not a criterion: {data!r} ({error}). Known: {', '.join(CRITERIA)}.") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Criterion):
        return value.to_dict()
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _built(value: Any) -> Any:
    if isinstance(value, Mapping):
        return criterion_from_dict(value)
    return tuple(_built(v) for v in value) if isinstance(value, list | tuple) else value


def log_odds(size: int, top: float = 11.5, bottom: float = -3.5) -> list[float]:
    """Shares in (0, 1), evenly spaced on the scale log(p / (1 - p)), largest first."""
    step = (top - bottom) / max(size - 1, 1)
    return [1 / (1 + math.exp(-(top - i * step))) for i in range(size)]


def nan_where_unusable(score: Tensor, logits: Tensor) -> Tensor:
    """NaN `[n]` in place of the score where a logit is NaN or +inf: for rules that would not notice."""
    return torch.where((logits < float("inf")).all(dim=-1), score, float("nan"))


def merged(grids: Sequence[Sequence[float]], size: int) -> list[float]:
    """At most `size` thresholds of several grids, spread evenly over all of them, strictest first."""
    values = sorted({value for grid in grids for value in grid}, reverse=True)
    count = min(size, len(values))
    return [values[(i * (len(values) - 1)) // max(count - 1, 1)] for i in range(count)]
