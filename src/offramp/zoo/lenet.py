"""LeNet-5, made for 28x28 images, in today's form: ReLU and max-pooling, no sparse connections, a linear output."""

from __future__ import annotations

from torch import Tensor, nn

from offramp.zoo.architecture import Size, architecture, height_and_width, require_at_least_one, require_size


class LeNet(nn.Module):
    """Two 5x5 convolutions with pooling, then three linear layers.

    The children stand in the order in which they run, so `nn.Sequential(*net.children())` computes the same.

    Args:
        num_classes: width of the output.
        in_channels: channels of the images.
        image_size: side of the images, or height and width, from 12 on.

    Raises:
        OfframpError: a size is below 1, or nothing is left of the images behind the second pooling.

    Source: LeCun et al. 1998, figure 2. Differs in that its first convolution pads 28x28 images instead of
    expecting 32x32, and in the parts the module docstring names.

    Example:
        >>> import torch
        >>> LeNet()(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, image_size: Size = 28) -> None:
        super().__init__()
        require_at_least_one(num_classes=num_classes, in_channels=in_channels)
        height, width = ((side // 2 - 4) // 2 for side in height_and_width(image_size))
        require_size("LeNet", image_size, least=12, left=min(height, width))
        self.conv1 = nn.Conv2d(in_channels, 6, kernel_size=5, padding=2)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(16 * height * width, 120)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(120, 84)
        self.relu4 = nn.ReLU()
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[n, num_classes]` of images `[n, in_channels, height, width]`."""
        maps = self.pool1(self.relu1(self.conv1(images)))
        maps = self.pool2(self.relu2(self.conv2(maps)))
        features = self.relu3(self.fc1(self.flatten(maps)))
        logits: Tensor = self.fc3(self.relu4(self.fc2(features)))
        return logits


@architecture("pool1", "pool2", images="mnist")
def lenet(num_classes: int = 10, in_channels: int = 1, image_size: Size = 28) -> nn.Module:
    """LeNet-5."""
    return LeNet(num_classes, in_channels, image_size)
