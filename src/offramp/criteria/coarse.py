"""Hierarchical exits: leave once the coarse class is sure, and answer as finely as is sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from offramp.criteria.criterion import Criterion, register
from offramp.criteria.max_probability import MaxProbability
from offramp.errors import PolicyError


@register
@dataclass(frozen=True)
class Coarse(Criterion):
    """`score = confidence(z at the coarsest level)`: a group's logit is `ln sum exp` of its classes' logits.

    A row that leaves is answered at the finest level whose confidence is above the exit's threshold too, see `levels`;
    at the last exit always with its class. `offramp.Hierarchy` makes the groups.

    Source: the coarse-then-fine exits of hierarchical classifiers, e.g. Yan et al. 2015 ("HD-CNN"), made a criterion.

    Attributes:
        groups: a row per level above the classes, finer first: the number of the group of each class.
        confidence: scores the logits of a level.

    Example:
        >>> two_cats_and_a_car = Coarse(groups=((0, 0, 1),))
        >>> two_cats_and_a_car.score(torch.tensor([[5.0, 5.0, 0.0]]))
        tensor([0.9966])
        >>> two_cats_and_a_car.levels(torch.tensor([[5.0, 5.0, 0.0], [9.0, 5.0, 0.0]]), threshold=0.9)
        tensor([1, 0])
    """

    groups: tuple[tuple[int, ...], ...]
    confidence: Criterion = field(default_factory=MaxProbability)

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(tuple(int(g) for g in row) for row in self.groups))
        numbered = all(sorted(set(row)) == list(range(max(row, default=0) + 1)) for row in self.groups)
        if not self.groups or not numbered or len(set(self.groups[-1])) < 2:
            raise PolicyError(
                f"Coarse(groups={self.groups}): give a row per level, with the number of its group (0, 1, ...) for "
                "each class, and two groups at least; offramp.Hierarchy makes them."
            )
        given = self.confidence
        if not isinstance(given, Criterion) or given.uses_earlier or given.at(0) is not given:
            raise PolicyError(
                f"Coarse(confidence={given!r}): give a criterion that is the same at every exit and reads no earlier "
                "ones, e.g. MaxProbability()."
            )

    @property
    def hierarchical(self) -> bool:
        """Always."""
        return True

    @property
    def graded(self) -> bool:
        """The leading class need not be in the leading group."""
        return False

    def check(self, early_exits: int, classes: int) -> None:
        """See `Criterion.check`."""
        if any(len(row) != classes for row in self.groups):
            raise PolicyError(
                f"The hierarchy has the classes {[len(row) for row in self.groups]} by level, the model has {classes}: "
                "give every class a group at every level."
            )

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.score`."""
        return self.confidence.score(at_level(logits, self.groups[-1]))

    def levels(self, logits: Tensor, threshold: float) -> Tensor:
        """`[n]` int64: the finest level that is sure, 0 = the class itself; the coarsest where none is.

        Args:
            logits: `[n, classes]`, divided by their temperature.
            threshold: of the exit.
        """
        found = torch.full(logits.shape[:1], len(self.groups), device=logits.device)
        for level in reversed(range(len(self.groups))):
            finer = logits if level == 0 else at_level(logits, self.groups[level - 1])
            found = torch.where(self.confidence.score(finer) > threshold, level, found)
        return found

    def grid(self, classes: int, size: int) -> list[float]:
        """Of the confidence over the coarsest groups."""
        return self.confidence.grid(max(self.groups[-1]) + 1, size)


def at_level(logits: Tensor, groups: Sequence[int]) -> Tensor:
    """Logits `[n, groups]`: `ln sum exp` over the classes of each group.

    Args:
        logits: `[n, classes]`.
        groups: of each class.
    """
    members = [[c for c, group in enumerate(groups) if group == g] for g in range(max(groups) + 1)]
    return torch.stack([logits[..., classes].logsumexp(dim=-1) for classes in members], dim=-1)
