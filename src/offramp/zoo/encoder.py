"""What the small transformers of the zoo are made of: pre-norm encoder blocks, and positions that need no weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from offramp.errors import OfframpError


class EncoderBlock(nn.Module):
    """`x + attention(norm(x))`, then `x + mlp(norm(x))`, on tokens `[n, t, width]`.

    Attention is written out as two matrix products, so that counters of operations see its backward pass too.

    Args:
        width: of a token.
        heads: of the attention; divides the width.
        hidden: width of the layer inside the MLP.

    Source: Vaswani et al. 2017, with the norms first (Xiong et al. 2020).
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        if width % heads:
            raise OfframpError(f"width={width} is not divisible by heads={heads}; change one of them.")
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens `[n, t, width]` to tokens."""
        tokens = tokens + self.project_out(self._attention(self.norm1(tokens)))
        mixed: Tensor = tokens + self.mlp(self.norm2(tokens))
        return mixed

    def _attention(self, tokens: Tensor) -> Tensor:
        parts = self.project_in(tokens).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.movedim(2, 0).transpose(2, 3).unbind(0)
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        mixed: Tensor = (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
        return mixed


def sinusoids(count: int, width: int) -> Tensor:
    """Positions 0 .. count - 1 as `[count, width]`: sines, then cosines, of falling frequencies.

    `p[i, k] = sin(i / 10000^(2 k / width))` in the first half, the cosines in the second.

    Source: Vaswani et al. 2017, section 3.5, with the two kinds side by side instead of alternating.

    Example:
        >>> sinusoids(2, 4)[0]
        tensor([0., 0., 1., 1.])
    """
    rates = 10_000.0 ** (-torch.arange(0, width, 2) / width)
    angles = torch.arange(count)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
