"""Confidence as the entropy's distance from its maximum: comparable between numbers of classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from offramp.criteria.criterion import Criterion, log_odds, register
from offramp.criteria.entropy import Entropy


@register
@dataclass(frozen=True)
class NormalisedEntropy(Criterion):
    """`score = 1 - H(p) / ln(classes)`, in [0, 1].

    A published rule "leave when the normalised entropy is below T" is the threshold 1 - T here.

    Source: the "uncertainty" of FastBERT (Liu et al. 2020). Differs in its sign only: larger = surer.

    Example:
        >>> import torch
        >>> NormalisedEntropy().score(torch.tensor([[0.0, 0.0], [9.0, 0.0]]))
        tensor([0.0000, 0.9982])
    """

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.score`."""
        return 1 + Entropy().score(logits) / math.log(logits.shape[-1])

    def grid(self, classes: int, size: int) -> list[float]:
        """Evenly spaced in log-odds over (0, 1)."""
        return log_odds(size)
