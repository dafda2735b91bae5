"""A wide strided convolution, pooling and one linear layer, the exit of Distiller's ImageNet networks."""

from __future__ import annotations

from torch import Tensor, nn

from offramp.heads.head import register
from offramp.heads.map_head import MapHead


@register
class StridedConv(MapHead):
    """`logits = W flatten(max_pool(conv(x))) + b`: 7 x 7 of stride 2 to a few channels, then maxima of stride 2.

    Source: IntelLabs/distiller at d859fc85, `resnet50_earlyexit`: 10 channels behind `layer1`, which gives 1,960
    values, and 12 behind `layer2`, which gives 588.

    Args:
        channels_in: number of channels at the cut.
        size: height and width at the cut.
        classes: number of logits.
        channels: of the convolution's output.

    Example:
        >>> StridedConv(256, (56, 56), 1000, channels=10).linear
        Linear(in_features=1960, out_features=1000, bias=True)
    """

    CHANNELS = 12

    def __init__(self, channels_in: int, size: tuple[int, int], classes: int, channels: int | None = None) -> None:
        super().__init__(channels_in, size, classes, channels)
        channels = self.CHANNELS if channels is None else channels
        self.conv = nn.Conv2d(channels_in, channels, kernel_size=7, stride=2, padding=3)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(channels * -(-size[0] // 4) * -(-size[1] // 4), classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits `[n, classes]`."""
        logits: Tensor = self.linear(self.flatten(self.pool(self.conv(features))))
        return logits
