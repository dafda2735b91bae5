"""Average pooling in small windows and one linear layer, the exit of Distiller's CIFAR networks."""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn

from offramp.errors import AttachError
from offramp.heads.head import ExitHead, register


@register
class AvgPoolLinear(ExitHead):
    """`logits = W flatten(avg_pool(x)) + b`, in windows of 3 x 3 that do not overlap.

    Rows and columns that fill no window are left out; maps smaller than a window are pooled to one value.

    Source: IntelLabs/distiller at d859fc85, the exit of its CIFAR ResNets (16 x 32 x 32 at the cut gives 1,600 values).

    Args:
        channels: number of channels.
        size: height and width at the cut.
        classes: number of logits.

    Example:
        >>> import torch
        >>> AvgPoolLinear(16, (32, 32), 10).linear
        Linear(in_features=1600, out_features=10, bias=True)
    """

    WINDOW = 3

    def __init__(self, channels: int, size: tuple[int, int], classes: int) -> None:
        super().__init__()
        window = min(self.WINDOW, size[0]), min(self.WINDOW, size[1])
        self.pool = nn.AvgPool2d(window)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(channels * (size[0] // window[0]) * (size[1] // window[1]), classes)

    @classmethod
    def for_features(cls, features: Tensor, classes: int) -> Self:
        """Reads channels and size; images `[n, c, h, w]` only."""
        if features.ndim != 4:
            raise AttachError(
                f"avg_pool_linear pools images [n, c, h, w], the cut has {list(features.shape)}. "
                "Use head='pooled_linear'."
            )
        _, channels, height, width = features.shape
        return cls(channels, (height, width), classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits `[n, classes]`."""
        logits: Tensor = self.linear(self.flatten(self.pool(features)))
        return logits
