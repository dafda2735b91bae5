"""Confidence as the largest softmax probability, the most used criterion (e.g. SDN, MSDNet)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from offramp.criteria.criterion import Criterion, log_odds, register


@register
@dataclass(frozen=True)
class MaxProbability(Criterion):
    """`score = max_c softmax(logits)_c`, in [1 / classes, 1].

    Source: MSDNet (Huang et al. 2018), section 4.

    Example:
        >>> import torch
        >>> MaxProbability().score(torch.tensor([[0.0, 0.0], [9.0, 0.0]]))
        tensor([0.5000, 0.9999])
    """

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.score`."""
        return logits.softmax(dim=-1).amax(dim=-1)

    def grid(self, classes: int, size: int) -> list[float]:
        """Evenly spaced in log-odds above chance, from 1 - 1e-5 down to just above 1 / classes."""
        return [1 / classes + (1 - 1 / classes) * share for share in log_odds(size)]
