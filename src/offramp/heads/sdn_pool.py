"""The internal classifier of Shallow-Deep Networks: a learned mix of maximum and average pooling, then linear."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from offramp.errors import AttachError
from offramp.heads.head import ExitHead, register


@register
class SdnPool(ExitHead):
    """`logits = W (s max_pool(x) + (1 - s) avg_pool(x)) + b`, `s = sigmoid(mix)` learned, pooled to at most 4 x 4.

    Source: Kaya et al. 2019 (Shallow-Deep Networks), section 4. Differs in that the pooling is adaptive, so that any
    input size works, and `mix` starts at 0 (an even mix) instead of at a random number.

    Args:
        channels: number of channels.
        pooled: height and width after pooling.
        classes: number of logits.

    Example:
        >>> import torch
        >>> SdnPool(16, (4, 4), 10)(torch.zeros(2, 16, 8, 8)).shape
        torch.Size([2, 10])
    """

    SIDE = 4

    def __init__(self, channels: int, pooled: tuple[int, int], classes: int) -> None:
        super().__init__()
        self.pooled = pooled
        self.mix = nn.Parameter(torch.zeros(()))
        self.linear = nn.Linear(channels * pooled[0] * pooled[1], classes)

    @classmethod
    def for_features(cls, features: Tensor, classes: int) -> Self:
        """Reads channels and size; images `[n, c, h, w]` only."""
        if features.ndim != 4:
            raise AttachError(
                f"sdn_pool pools images [n, c, h, w], the cut has {list(features.shape)}. Use head='pooled_linear'."
            )
        _, channels, height, width = features.shape
        return cls(channels, (min(height, cls.SIDE), min(width, cls.SIDE)), classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits `[n, classes]`."""
        share = torch.sigmoid(self.mix)
        largest = max_pool_to(features, self.pooled)
        mean = functional.adaptive_avg_pool2d(features, self.pooled)
        logits: Tensor = self.linear((share * largest + (1 - share) * mean).flatten(1))
        return logits


def max_pool_to(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Adaptive maximum pooling `[n, c, h, w] -> [n, c, *size]`, of operations that every exporter and compiler knows.

    ONNX has no adaptive maximum pooling. Where the sizes divide, it is a pooling with fixed kernels, which is also
    faster; elsewhere the windows overlap by one, and rows and then columns are reduced window by window.
    """
    height, width = images.shape[-2:]
    if height % size[0] == 0 and width % size[1] == 0:
        return functional.max_pool2d(images, (height // size[0], width // size[1]))
    rows = [images[..., a:b, :].amax(dim=-2) for a, b in _windows(height, size[0])]
    by_row = torch.stack(rows, dim=-2)
    return torch.stack([by_row[..., a:b].amax(dim=-1) for a, b in _windows(width, size[1])], dim=-1)


def _windows(length: int, count: int) -> list[tuple[int, int]]:
    """Where the windows of an adaptive pooling begin and end."""
    return [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]
