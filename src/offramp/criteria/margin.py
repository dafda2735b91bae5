"""Confidence as the gap between the two largest softmax probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from offramp.criteria.criterion import Criterion, log_odds, register


@register
@dataclass(frozen=True)
class Margin(Criterion):
    """`score = p_(1) - p_(2)` of the sorted softmax, in [0, 1].

    Source: the "softmax response" of CALM (Schuster et al. 2022), section 3.2.

    Example:
        >>> import torch
        >>> Margin().score(torch.tensor([[0.0, 0.0, -9.0], [9.0, 0.0, 0.0]]))
        tensor([0.0000, 0.9996])
    """

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.score`."""
        top = logits.softmax(dim=-1).topk(2, dim=-1).values
        return top[..., 0] - top[..., 1]

    def grid(self, classes: int, size: int) -> list[float]:
        """Evenly spaced in log-odds over (0, 1)."""
        return log_odds(size)
