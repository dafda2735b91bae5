"""Confidence as low entropy of the softmax, BranchyNet's and Distiller's rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from offramp.criteria.criterion import Criterion, log_odds, register

LEAST = -1000.0
"""Logarithm below which a probability is zero, in double precision too."""


@register
@dataclass(frozen=True)
class Entropy(Criterion):
    """`score = sum_c p_c ln p_c`: minus the entropy in nats, in [-ln(classes), 0].

    A published rule "leave when the entropy is below T" is the threshold -T here.

    Source: BranchyNet (Teerapittayanon et al. 2016), algorithm 1. Differs in its sign only: larger = surer.

    Example:
        >>> import torch
        >>> Entropy().score(torch.tensor([[0.0, 0.0], [9.0, 0.0]]))
        tensor([-0.6931, -0.0012])
    """

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.score`."""
        log_p = logits.log_softmax(dim=-1)
        return negative_entropy(log_p.exp(), log_p)

    def grid(self, classes: int, size: int) -> list[float]:
        """Evenly spaced in the log-odds of the entropy's share of its maximum."""
        return [-math.log(classes) * (1 - share) for share in log_odds(size)]


def negative_entropy(p: Tensor, log_p: Tensor) -> Tensor:
    """`[n]` sum of `p ln p`, of probabilities `[n, classes]` and their logarithms."""
    # A probability of zero contributes nothing, where 0 * -inf would be NaN; a true NaN stays NaN.
    return (p * log_p.clamp_min(LEAST)).sum(dim=-1)
