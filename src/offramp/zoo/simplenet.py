"""The small convolutional networks of Distiller's first examples: two 5x5 convolutions, then linear layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from offramp.zoo.architecture import Size, architecture, height_and_width, require_at_least_one, require_size


class SimpleNet(nn.Module):
    """`conv1 relu1 pool1 conv2 relu2 pool2`, then `fc1`, `fc2`, ... with ReLU in between.

    Args:
        channels: of the two convolutions' outputs.
        hidden: widths of the linear layers before the last.
        num_classes: width of the output.
        in_channels: channels of the images.
        image_size: side of the images, or height and width, from 16 on.

    Raises:
        OfframpError: a size is below 1, or nothing is left of the images behind the second pooling.

    Source: IntelLabs/distiller at d859fc85, `simplenet_cifar` and `simplenet_mnist`. Differs in that both give logits;
    there the second gives log-probabilities.

    Example:
        >>> SimpleNet((20, 50), (500,), in_channels=1, image_size=28).fc1
        Linear(in_features=800, out_features=500, bias=True)
    """

    def __init__(
        self,
        channels: tuple[int, int],
        hidden: Sequence[int],
        *,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: Size = 32,
    ) -> None:
        super().__init__()
        require_at_least_one(num_classes=num_classes, in_channels=in_channels)
        height, width = ((((side - 4) // 2) - 4) // 2 for side in height_and_width(image_size))
        require_size("SimpleNet", image_size, least=16, left=min(height, width))
        self.conv1 = nn.Conv2d(in_channels, channels[0], kernel_size=5)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(channels[0], channels[1], kernel_size=5)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.linear = len(hidden) + 1
        for i, (before, after) in enumerate(pairwise([channels[1] * height * width, *hidden, num_classes]), start=1):
            self.add_module(f"fc{i}", nn.Linear(before, after))
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[n, num_classes]` of images `[n, in_channels, height, width]`."""
        maps = self.pool1(self.relu1(self.conv1(images)))
        features = self.flatten(self.pool2(self.relu2(self.conv2(maps))))
        for i in range(1, self.linear):
            features = self.relu(self.get_submodule(f"fc{i}")(features))
        logits: Tensor = self.get_submodule(f"fc{self.linear}")(features)
        return logits


@architecture("pool1", "pool2")
def simplenet_cifar(num_classes: int = 10, in_channels: int = 3, image_size: Size = 32) -> nn.Module:
    """Channels 6 and 16, linear layers of 120 and 84."""
    return SimpleNet((6, 16), (120, 84), num_classes=num_classes, in_channels=in_channels, image_size=image_size)


@architecture("pool1", "pool2")
def simplenet_mnist(num_classes: int = 10, in_channels: int = 1, image_size: Size = 28) -> nn.Module:
    """Channels 20 and 50, a linear layer of 500."""
    return SimpleNet((20, 50), (500,), num_classes=num_classes, in_channels=in_channels, image_size=image_size)
