"""Agreement of the last two exits, by the distance of their probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from offramp.criteria.criterion import Criterion, log_odds, nan_where_unusable, register


@register
@dataclass(frozen=True)
class JensenShannon(Criterion):
    """`score = 1 - sqrt(JS(p_k, p_{k-1}))`, in [0, 1]; JS is the Jensen-Shannon divergence in bits.

    `JS(p, q) = (KL(p || m) + KL(q || m)) / 2` with `m = (p + q) / 2`; its root is a distance. 1 where the two exits
    give the same probabilities. Nobody leaves at the first exit, which has none before it.

    Source: Endres and Schindelin 2003 for the distance; the rule is the agreement test of internal ensembles made
    continuous.

    Example:
        >>> import torch
        >>> cat, dog = torch.tensor([[9.0, 0.0]]), torch.tensor([[0.0, 9.0]])
        >>> JensenShannon().score(cat, [cat]), JensenShannon().score(cat, [dog])
        (tensor([1.]), tensor([0.0009]))
    """

    @property
    def uses_earlier(self) -> bool:
        """Always."""
        return True

    @property
    def graded(self) -> bool:
        """Two exits may drift apart while both grow surer."""
        return False

    def opens(self, exit: int) -> bool:
        """From the second exit on."""
        return exit > 0

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.score`."""
        if not earlier:
            return nan_where_unusable(logits.new_zeros(logits.shape[:-1]), logits)
        here, before = _softmax(logits), _softmax(earlier[-1])
        total = here + before
        # In terms of the relative difference no digits are lost where the two are nearly the same.
        difference = (here - before) / total.clamp_min(1e-30)
        terms = _weighed_log(difference) + _weighed_log(-difference)
        divergence = (total * terms).sum(dim=-1) / (4 * math.log(2))
        return 1 - divergence.abs().sqrt()

    def grid(self, classes: int, size: int) -> list[float]:
        """Evenly spaced in log-odds over (0, 1)."""
        return log_odds(size)


def _softmax(logits: Tensor) -> Tensor:
    """Written out: over few classes, as exits mostly have, torch's own takes longer, and here it is needed twice."""
    odds = (logits - logits.amax(dim=-1, keepdim=True)).exp()
    return odds / odds.sum(dim=-1, keepdim=True)


def _weighed_log(x: Tensor) -> Tensor:
    """`(1 + x) ln(1 + x)`, which is 0 at -1."""
    return (1 + x) * x.clamp_min(-1 + 1e-7).log1p()
