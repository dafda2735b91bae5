"""Confidence as low free energy: the logits' own size, which the softmax forgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from offramp.criteria.criterion import Criterion, nan_where_unusable, register

TOP, BOTTOM = 40.0, -10.0
"""Ends of the grid; trained classifiers' scores lie between them, other thresholds are found by searching."""


@register
@dataclass(frozen=True)
class Energy(Criterion):
    """`score = ln sum_c exp(z_c)`: minus the free energy of the logits, unbounded.

    Unlike the other scores it changes when all logits are raised together.

    Source: Liu et al. 2020, "Energy-based out-of-distribution detection", the free energy with T in the policy.

    Example:
        >>> import torch
        >>> Energy().score(torch.tensor([[0.0, 0.0], [9.0, 0.0]]))
        tensor([0.6931, 9.0001])
    """

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.score`."""
        return nan_where_unusable(logits.logsumexp(dim=-1), logits)

    def grid(self, classes: int, size: int) -> list[float]:
        """Evenly spaced between `TOP` and `BOTTOM`."""
        step = (TOP - BOTTOM) / max(size - 1, 1)
        return [TOP - i * step for i in range(size)]
