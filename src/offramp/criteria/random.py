"""Leaving at random: the control that every criterion must beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from offramp.criteria.criterion import Criterion, nan_where_unusable, register
from offramp.errors import PolicyError

GOLDEN, DIAGONAL = 0.6180339887498949, 0.41421356237309515
"""Irrational, also in their ratio: so neither seeds nor exits repeat each other."""
SPEED = 7.0
"""Turns of the wave per unit of a logit: many over the spread of trained logits, few enough that rounding is small."""


@register
@dataclass(frozen=True)
class Random(Criterion):
    """`score = |2 frac(s) - 1|` of `s = sum_c a_c z_c + a`: about uniform in [0, 1].

    The threshold 1 - r lets a share r of the rows leave. The numbers `a_c` are fixed by the seed and the exit. The same
    logits always score the same, alone or in any batch, so that taking exits equals simulating them; equal inputs
    leave together. The wave is continuous, so that rounding moves a score a little and not to anywhere.

    Attributes:
        seed: 0 to 10^6; another seed lets others leave.
        exit: whose numbers are used; set by `at`.

    Example:
        >>> import torch
        >>> z = torch.randn(1000, 10, generator=torch.Generator().manual_seed(0))
        >>> (Random().score(z) > 0.7).double().mean().round(decimals=1).item()
        0.3
    """

    seed: int = 0
    exit: int = 0

    def __post_init__(self) -> None:
        for name, value in (("seed", self.seed), ("exit", self.exit)):
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**6:
                raise PolicyError(f"Random({name}={value!r}): give a whole number from 0 to 1000000.")

    @property
    def graded(self) -> bool:
        """Chance knows no confidence."""
        return False

    def at(self, exit: int) -> Random:
        """With numbers of the exit's own."""
        return Random(self.seed, exit)

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.score`."""
        start = (1 + self.seed * GOLDEN + self.exit * DIAGONAL) % 1
        numbers = [(start + c * GOLDEN) % 1 for c in range(logits.shape[-1])]
        speeds = logits.new_tensor([SPEED * (0.5 + x) * (1 if c % 2 else -1) for c, x in enumerate(numbers)])
        known = logits.masked_fill(logits == -float("inf"), 0.0)  # classes that are masked out
        turns = (known * speeds).sum(dim=-1) + start
        return nan_where_unusable((2 * (turns - torch.floor(turns)) - 1).abs(), logits)

    def grid(self, classes: int, size: int) -> list[float]:
        """Evenly spaced over [0, 1)."""
        return [1 - (i + 1) / size for i in range(size)]
