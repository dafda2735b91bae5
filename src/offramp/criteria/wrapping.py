"""What criteria that change another one have in common: all they do not change is that one's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from offramp.criteria.criterion import Criterion
from offramp.errors import PolicyError


@dataclass(frozen=True)
class Wrapping(Criterion):
    """Derive from it as a frozen dataclass, and change what is to be changed.

    Attributes:
        criterion: what is changed.
    """

    criterion: Criterion

    def __post_init__(self) -> None:
        if not isinstance(self.criterion, Criterion):
            raise PolicyError(
                f"{type(self).__name__}(criterion={self.criterion!r}): give a criterion, e.g. MaxProbability()."
            )

    @property
    def uses_earlier(self) -> bool:
        """As what is changed."""
        return self.criterion.uses_earlier

    @property
    def combines(self) -> bool:
        """As what is changed."""
        return self.criterion.combines

    @property
    def hierarchical(self) -> bool:
        """As what is changed."""
        return self.criterion.hierarchical

    def levels(self, logits: Tensor, threshold: float) -> Tensor:
        """See `Criterion.levels`."""
        return self.criterion.levels(logits, threshold)

    @property
    def graded(self) -> bool:
        """As what is changed."""
        return self.criterion.graded

    def at(self, exit: int) -> Self:
        """Around the criterion as it is there."""
        here = self.criterion.at(exit)
        return self if here is self.criterion else replace(self, criterion=here)

    def opens(self, exit: int) -> bool:
        """As what is changed."""
        return self.criterion.opens(exit)

    def check(self, early_exits: int, classes: int) -> None:
        """See `Criterion.check`."""
        self.criterion.check(early_exits, classes)

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.score`."""
        return self.criterion.score(logits, earlier)

    def answer(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.answer`."""
        return self.criterion.answer(logits, earlier)

    def grid(self, classes: int, size: int) -> list[float]:
        """As what is changed."""
        return self.criterion.grid(classes, size)
