"""Global average pooling and one linear layer, the cheapest head."""

from __future__ import annotations

from typing import Self

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
        if features.ndim == 3:
            features = features.mean(dim=1)
        elif features.ndim > 3:
            features = features.mean(dim=tuple(range(2, features.ndim)))
        logits: Tensor = self.linear(features)
        return logits
