"""The LeNet of BranchyNet, and with its branch B-LeNet: three thin 5x5 convolutions that keep the images large."""

from __future__ import annotations

from torch import Tensor, nn

from offramp.heads import BranchConv
from offramp.zoo.architecture import PublishedExits, Size, architecture, height_and_width, require_at_least_one

CHANNELS = (5, 10, 20)
PADDING = 3
HIDDEN = 84


class BranchyLeNet(nn.Module):
    """`conv1 pool1 relu1`, twice more, then two linear layers without anything between, as its authors have it.

    Args:
        num_classes: width of the output.
        in_channels: channels of the images.
        image_size: side of the images, or height and width; any.
        channels: of the three convolutions' outputs.

    Source: Teerapittayanon et al. 2016 (BranchyNet) and its authors' code, `networks/lenet_mnist.py`; 1.14 million
    MACs for 28x28 grey images.

    Example:
        >>> BranchyLeNet().fc1
        Linear(in_features=720, out_features=84, bias=True)
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: Size = 28,
        *,
        channels: tuple[int, int, int] = CHANNELS,
    ) -> None:
        super().__init__()
        require_at_least_one(num_classes=num_classes, in_channels=in_channels, channels=min(channels))
        height, width = (_side_after_three(side) for side in height_and_width(image_size))
        first, second, third = channels
        self.conv1 = nn.Conv2d(in_channels, first, kernel_size=5, padding=PADDING)
        self.pool1 = nn.MaxPool2d(2, ceil_mode=True)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(first, second, kernel_size=5, padding=PADDING)
        self.pool2 = nn.MaxPool2d(2, ceil_mode=True)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(second, third, kernel_size=5, padding=PADDING)
        self.pool3 = nn.MaxPool2d(2, ceil_mode=True)
        self.relu3 = nn.ReLU()
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(third * height * width, HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[n, num_classes]` of images `[n, in_channels, height, width]`."""
        maps = self.relu1(self.pool1(self.conv1(images)))
        maps = self.relu2(self.pool2(self.conv2(maps)))
        maps = self.relu3(self.pool3(self.conv3(maps)))
        logits: Tensor = self.fc2(self.fc1(self.flatten(maps)))
        return logits


def _side_after_three(side: int) -> int:
    """Of the maps behind the three convolutions: each adds two pixels, each pooling halves, rounded up."""
    for _ in CHANNELS:
        side = -(-(side + 2 * PADDING - 4) // 2)
    return side


@architecture(
    "conv1",
    images="mnist",
    exits=PublishedExits({"conv1": BranchConv.for_features}, elsewhere=BranchConv.for_features),
)
def branchy_lenet(num_classes: int = 10, in_channels: int = 1, image_size: Size = 28) -> nn.Module:
    """BranchyNet's LeNet; its twin is B-LeNet."""
    return BranchyLeNet(num_classes, in_channels, image_size)
