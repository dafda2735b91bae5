"""A criterion of its own for every exit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from offramp.criteria.criterion import Criterion, merged, register
from offramp.errors import PolicyError


@register
@dataclass(frozen=True)
class PerExit(Criterion):
    """Member k scores at early exit k; behind the last of them, the last one does.

    Attributes:
        members: one per early exit, earliest first. None combines exits.

    Example:
        >>> from offramp.criteria import Margin, MaxProbability
        >>> PerExit((Margin(), MaxProbability())).at(1)
        MaxProbability()
    """

    members: tuple[Criterion, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(self.members))
        if not self.members or not all(isinstance(m, Criterion) for m in self.members):
            raise PolicyError(f"PerExit(members={self.members!r}): give criteria, one per early exit.")
        if any(m.combines for m in self.members):
            raise PolicyError(
                f"PerExit of {', '.join(type(m).__name__ for m in self.members)}: an ensemble answers at all exits. "
                "Use it for all of them."
            )

    @property
    def uses_earlier(self) -> bool:
        """Where a member does."""
        return any(m.uses_earlier for m in self.members)

    @property
    def graded(self) -> bool:
        """Where all members are."""
        return all(m.graded for m in self.members)

    def at(self, exit: int) -> Criterion:
        """The exit's own."""
        return self.members[min(exit, len(self.members) - 1)].at(exit)

    def opens(self, exit: int) -> bool:
        """As the exit's own."""
        return self.members[min(exit, len(self.members) - 1)].opens(exit)

    def check(self, early_exits: int, classes: int) -> None:
        """See `Criterion.check`."""
        if len(self.members) != early_exits:
            raise PolicyError(
                f"The criterion was made for {len(self.members)} early exits, here are {early_exits}: give PerExit one "
                "member per early exit, or train the gates on a recording of this model."
            )
        for member in self.members:
            member.check(early_exits, classes)

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """As at the exit behind the earlier ones; a policy asks `at(exit)` instead."""
        return self.at(len(earlier)).score(logits, earlier)

    def grid(self, classes: int, size: int) -> list[float]:
        """Of all members."""
        return merged([m.grid(classes, size) for m in dict.fromkeys(self.members)], size)
