"""The always-exit test: leave at one fixed exit, whatever the logits say. The static baseline of every policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from offramp.criteria.criterion import Criterion, register
from offramp.errors import PolicyError


@register
@dataclass(frozen=True)
class Always(Criterion):
    """Everything leaves at `exit` (0 = earliest); heads before it are not evaluated, stages behind it do not run.

    A policy with this criterion carries no thresholds: see `offramp.always`. Rows with NaN or +inf, which have no
    softmax, still go on to the end.

    Example:
        >>> import torch
        >>> Always(exit=1).score(torch.zeros(2, 10))
        tensor([0., 0.])
    """

    exit: int

    def __post_init__(self) -> None:
        if isinstance(self.exit, bool) or not isinstance(self.exit, int) or self.exit < 0:
            raise PolicyError(f"Always(exit={self.exit!r}): give an exit's number, 0 for the earliest.")

    def opens(self, exit: int) -> bool:
        """At its exit only."""
        return exit == self.exit

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """Zero for every row, NaN where a logit is NaN or +inf."""
        usable = (logits < float("inf")).all(dim=-1)
        return logits.new_zeros(logits.shape[:-1]).masked_fill(~usable, float("nan"))

    def grid(self, classes: int, size: int) -> list[float]:
        """There is nothing to choose: one threshold below the constant score."""
        return [float("-inf")]
