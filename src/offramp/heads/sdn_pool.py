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

    The windows are of one size, a fixed distance apart, and cover the map; where it does not divide by 4, neighbours
    overlap. One kernel does that, which adaptive pooling, whose windows differ, is not in any compiler or exporter.

    Source: Kaya et al. 2019 (Shallow-Deep Networks), section 4, whose windows do not overlap, so that maps of different
    sizes give different numbers of features. `mix` starts at 0 here (an even mix) instead of at a random number.

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
        kernel, stride = zip(*map(windows, features.shape[-2:], self.pooled), strict=True)
        largest = functional.max_pool2d(features, kernel, stride)
        mean = functional.avg_pool2d(features, kernel, stride)
        logits: Tensor = self.linear((mean + torch.sigmoid(self.mix) * (largest - mean)).flatten(1))
        return logits


def windows(length: int, count: int) -> tuple[int, int]:
    """Size and distance of `count` windows of one size that cover a length exactly.

    Example:
        >>> windows(28, 4), windows(14, 4), windows(7, 4)
        ((7, 7), (5, 3), (4, 1))
    """
    distance = length // count
    return length - (count - 1) * distance, distance
