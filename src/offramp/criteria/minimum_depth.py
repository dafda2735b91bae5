"""A minimum depth: nobody leaves before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from offramp.criteria.criterion import register
from offramp.criteria.wrapping import Wrapping
from offramp.errors import PolicyError


@register
@dataclass(frozen=True)
class MinimumDepth(Wrapping):
    """A criterion whose exits before `depth` are closed, whatever their thresholds.

    Attributes:
        depth: number of the first exit at which somebody may leave (0 = earliest).

    Example:
        >>> from offramp.criteria import Margin
        >>> MinimumDepth(Margin(), depth=1).opens(0)
        False
    """

    depth: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.depth, bool) or not isinstance(self.depth, int) or self.depth < 0:
            raise PolicyError(f"MinimumDepth(depth={self.depth!r}): give an exit's number, 0 for the earliest.")

    def opens(self, exit: int) -> bool:
        """From the depth on, where the criterion does."""
        return exit >= self.depth and super().opens(exit)

    def judge(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
        """See `Criterion.judge`."""
        return self.criterion.judge(logits, earlier)

    def check(self, early_exits: int, classes: int) -> None:
        """See `Criterion.check`."""
        super().check(early_exits, classes)
        if self.depth >= early_exits:
            raise PolicyError(
                f"MinimumDepth(depth={self.depth}) leaves no exit open: the model has the early exits 0 to "
                f"{early_exits - 1}. Give a smaller depth, or offramp.always(exit={early_exits})."
            )
