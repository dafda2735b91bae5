"""Confidence as low Gini impurity of the softmax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from offramp.criteria.criterion import Criterion, log_odds, register


@register
@dataclass(frozen=True)
class Gini(Criterion):
    """`score = sum_c p_c^2`: one minus the Gini impurity, in [1 / classes, 1].

    It is the chance that two labels drawn from the softmax agree.

    Source: DeepGini (Feng et al. 2020). Differs in its sign only: larger = surer.

    Example:
        >>> import torch
        >>> Gini().score(torch.tensor([[0.0, 0.0], [9.0, 0.0]]))
        tensor([0.5000, 0.9998])
    """

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.score`."""
        return logits.softmax(dim=-1).square().sum(dim=-1)

    def grid(self, classes: int, size: int) -> list[float]:
        """Evenly spaced in log-odds above chance."""
        return [1 / classes + (1 - 1 / classes) * share for share in log_odds(size)]
