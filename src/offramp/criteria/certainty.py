"""Confidence that an exit has learned to state, in the mean of its logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from offramp.criteria.criterion import Criterion, nan_where_unusable, register


@register
@dataclass(frozen=True)
class Certainty(Criterion):
    """`score = sigmoid(mean_c z_c)`, in (0, 1).

    Where the regime `LearningToExit` trained the exits, it is how likely each holds its own prediction to be right.
    Otherwise the mean of the logits means nothing: no other loss sees it.

    Source: Xin et al. 2021 (BERxiT), learning to exit.

    Example:
        >>> import torch
        >>> Certainty().score(torch.tensor([[1.0, -1.0], [9.0, 1.0]]))
        tensor([0.5000, 0.9933])
    """

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.score`."""
        return nan_where_unusable(logits.mean(dim=-1).sigmoid(), logits)

    def grid(self, classes: int, size: int) -> list[float]:
        """Evenly spaced over [0, 1)."""
        return [1 - (i + 1) / size for i in range(size)]
