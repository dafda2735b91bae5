"""Pooling, a small convolution, pooling and one linear layer, the first branch of B-LeNet."""

from __future__ import annotations

from torch import Tensor, nn

from offramp.heads.head import register
from offramp.heads.map_head import MapHead


@register
class BranchConv(MapHead):
    """`logits = W flatten(relu(max_pool(conv(relu(max_pool(x)))))) + b`: 3 x 3, maxima of 2 x 2, ten channels.

    Maps of odd size are pooled as if continued, so that no pixel is lost; maps of one pixel are not made smaller.

    Source: Teerapittayanon et al. 2016 (BranchyNet) and its authors' code, `networks/lenet_mnist.py`: 5 x 30 x 30 at
    the cut gives 640 values.

    Args:
        channels_in: number of channels at the cut.
        size: height and width at the cut.
        classes: number of logits.
        channels: of the convolution's output.

    Example:
        >>> BranchConv(5, (30, 30), 10).linear
        Linear(in_features=640, out_features=10, bias=True)
    """

    CHANNELS = 10

    def __init__(self, channels_in: int, size: tuple[int, int], classes: int, channels: int | None = None) -> None:
        super().__init__(channels_in, size, classes, channels)
        channels = self.CHANNELS if channels is None else channels
        self.pool1 = nn.MaxPool2d(2, ceil_mode=True)
        self.relu1 = nn.ReLU()
        self.conv = nn.Conv2d(channels_in, channels, kernel_size=3, padding=1)
        self.pool2 = nn.MaxPool2d(2, ceil_mode=True)
        self.relu2 = nn.ReLU()
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(channels * -(-size[0] // 4) * -(-size[1] // 4), classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits `[n, classes]`."""
        maps = self.conv(self.relu1(self.pool1(features)))
        logits: Tensor = self.linear(self.flatten(self.relu2(self.pool2(maps))))
        return logits
