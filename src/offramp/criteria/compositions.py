"""Several criteria at once: leave where any of them, or all of them, would."""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from offramp.criteria.criterion import Criterion, merged, register
from offramp.errors import PolicyError


@dataclass(frozen=True)
class Composition(Criterion):
    """Members and, for each, a threshold that is taken off its score, so that scores of all kinds can be compared.

    Attributes:
        members: at least one; at most one of them combines exits, and it then gives the answers.
        thresholds: one per member, in the units of its score; none stands for 0 everywhere, which fits members that
            score in the same units.
    """

    members: tuple[Criterion, ...]
    thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        name = type(self).__name__
        object.__setattr__(self, "members", tuple(self.members))
        given = tuple(float(t) for t in self.thresholds) or (0.0,) * len(self.members)
        object.__setattr__(self, "thresholds", given)
        if not self.members or not all(isinstance(m, Criterion) for m in self.members):
            raise PolicyError(f"{name}(members={self.members!r}): give criteria, at least one.")
        if len(given) != len(self.members) or not all(map(math.isfinite, given)):
            raise PolicyError(
                f"{name} has {len(self.members)} members and the thresholds {list(given)}: give a finite one per "
                "member, or none at all."
            )
        ensembles = [type(m).__name__ for m in self.members if m.combines]
        if len(ensembles) > 1:
            raise PolicyError(f"{name} of {', '.join(ensembles)}: only one member can give the answers.")

    @property
    def uses_earlier(self) -> bool:
        """Where a member does."""
        return any(m.uses_earlier for m in self.members)

    @property
    def combines(self) -> bool:
        """Where a member does."""
        return any(m.combines for m in self.members)

    @property
    def graded(self) -> bool:
        """Where all members are."""
        return all(m.graded for m in self.members)

    def check(self, early_exits: int, classes: int) -> None:
        """See `Criterion.check`."""
        for member in self.members:
            member.check(early_exits, classes)

    def at(self, exit: int) -> Self:
        """Of the members as they are there."""
        return type(self)(tuple(m.at(exit) for m in self.members), self.thresholds)

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.score`."""
        return self.judge(logits, earlier)[0]

    def answer(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """The answer of the member that combines."""
        chosen = next((m for m in self.members if m.combines), None)
        return logits if chosen is None else chosen.answer(logits, earlier)

    def judge(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
        """See `Criterion.judge`."""
        answer, scores = logits, []
        for member, threshold in zip(self.members, self.thresholds, strict=True):
            score, own = member.judge(logits, earlier)
            scores.append(score - threshold)
            answer = own if member.combines else answer
        return functools.reduce(self._join, scores), answer

    def grid(self, classes: int, size: int) -> list[float]:
        """Of all members, each relative to its threshold."""
        pairs = zip(self.members, self.thresholds, strict=True)
        return merged([[v - t for v in m.grid(classes, size)] for m, t in pairs], size)

    @staticmethod
    @abstractmethod
    def _join(one: Tensor, other: Tensor) -> Tensor:
        """Of two scores `[n]`; NaN in either gives NaN."""


@register
@dataclass(frozen=True)
class AnyOf(Composition):
    """`score = max_i (score_i - t_i)`: with the policy's threshold at 0, leave where any member is above its own.

    Example:
        >>> import torch
        >>> from offramp.criteria import Margin, MaxProbability
        >>> AnyOf((MaxProbability(), Margin()), (0.9, 0.5)).score(torch.tensor([[2.0, 0.0]])) > 0
        tensor([True])
    """

    def at(self, exit: int) -> AnyOf:
        """Of the members that let somebody leave there."""
        pairs = list(zip(self.members, self.thresholds, strict=True))
        useful = [(m.at(exit), t) for m, t in pairs if m.opens(exit) or m.combines] or pairs
        return AnyOf(tuple(m for m, _ in useful), tuple(t for _, t in useful))

    def opens(self, exit: int) -> bool:
        """Where a member does."""
        return any(m.opens(exit) for m in self.members)

    @staticmethod
    def _join(one: Tensor, other: Tensor) -> Tensor:
        return torch.maximum(one, other)


@register
@dataclass(frozen=True)
class AllOf(Composition):
    """`score = min_i (score_i - t_i)`: with the policy's threshold at 0, leave where every member is above its own.

    Example:
        >>> import torch
        >>> from offramp.criteria import Margin, MaxProbability
        >>> AllOf((MaxProbability(), Margin()), (0.9, 0.5)).score(torch.tensor([[2.0, 0.0]])) > 0
        tensor([False])
    """

    def opens(self, exit: int) -> bool:
        """Where every member does."""
        return all(m.opens(exit) for m in self.members)

    @staticmethod
    def _join(one: Tensor, other: Tensor) -> Tensor:
        return torch.minimum(one, other)
