"""Patience: leave once the prediction has stayed the same over several exits in a row."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from offramp.criteria.criterion import Criterion, nan_where_unusable, register
from offramp.errors import PolicyError

MOST = 64
"""Longest patience in a grid."""


@register
@dataclass(frozen=True)
class Patience(Criterion):
    """`score = count`: how many times in a row, up to this exit, the prediction was that of the exit before.

    `count_0 = 0`; `count_k = count_{k-1} + 1` where exits k and k - 1 predict the same class, else 0. PABEE's patience
    t is the threshold t - 1/2, see `thresholds`.

    Source: PABEE (Zhou et al. 2020), "BERT loses patience", whose counter also starts at 0.

    Example:
        >>> import torch
        >>> cat, dog = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> Patience().score(cat, [dog, cat, cat]), Patience().score(dog, [cat, cat])
        (tensor([2.]), tensor([0.]))
    """

    @property
    def uses_earlier(self) -> bool:
        """Always."""
        return True

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.score`."""
        predictions = [z.argmax(dim=-1) for z in (*earlier, logits)]
        count = logits.new_zeros(logits.shape[:-1])
        for before, here in itertools.pairwise(predictions):
            count = (count + 1) * (before == here).to(count.dtype)
        return nan_where_unusable(count, logits)

    def grid(self, classes: int, size: int) -> list[float]:
        """Every patience up to `MOST`, and 0, which takes the first exit."""
        longest = min(size - 1, MOST)
        return [t - 0.5 for t in range(longest, -1, -1)]

    @staticmethod
    def thresholds(patience: int, early_exits: int) -> list[float]:
        """Thresholds for a patience, one per early exit.

        Args:
            patience: how many times the prediction must have been repeated.
            early_exits: number of exits before the backbone's own output.

        Raises:
            PolicyError: no exit can ever count so far.

        Example:
            >>> Patience.thresholds(2, early_exits=3)
            [1.5, 1.5, 1.5]
        """
        if isinstance(patience, bool) or not isinstance(patience, int) or not 1 <= patience < early_exits:
            raise PolicyError(
                f"Patience.thresholds({patience!r}, early_exits={early_exits}): with {early_exits} early exits a "
                f"prediction can be repeated at most {max(early_exits - 1, 0)} times before the last exit. Give a "
                "whole number from 1 to that, or attach more exits."
            )
        return [patience - 0.5] * early_exits
