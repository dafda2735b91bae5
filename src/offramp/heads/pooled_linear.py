"""Global average pooling and one linear layer, the cheapest head."""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor, nn

from offramp.errors import AttachError
from offramp.heads.head import ExitHead, register


@register
class PooledLinear(ExitHead):
    """`logits = W mean(features) + b`, the mean over space `[n, c, h, w, ...]` or over tokens `[n, t, c]`.

    Args:
        width: number of channels.
        classes: number of logits.

    Example:
        >>> import torch
        >>> PooledLinear(16, 10)(torch.zeros(2, 16, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, classes)

    @classmethod
    def for_features(cls, features: Tensor, classes: int) -> Self:
        """Reads the width: the last dimension of vectors and tokens, the second of images."""
        if features.ndim < 2:
            raise AttachError(f"pooled_linear needs [n, width, ...] at its cut, not {list(features.shape)}.")
        return cls(features.shape[-1] if features.ndim == 3 else features.shape[1], classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits `[n, classes]`."""
        if features.ndim >= 3:
            features = self._mean(features, (1,) if features.ndim == 3 else tuple(range(2, features.ndim)))
        logits: Tensor = self.linear(features)
        return logits

    def _mean(self, features: Tensor, dims: tuple[int, ...]) -> Tensor:
        if not self.training or features.dtype != torch.float32:
            return features.mean(dim=dims)
        # The gradient of a sum is a view, that of a mean as large as the features: twice the time of the backward pass.
        # Narrower types would overflow.
        return features.sum(dim=dims) / math.prod(features.shape[dim] for dim in dims)
