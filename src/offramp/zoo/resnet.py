"""Residual networks for large images, ResNet-18 to ResNet-152, with the state dict of torchvision's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from offramp.errors import OfframpError
from offramp.heads import StridedConv
from offramp.zoo.architecture import PublishedExits, Size, architecture, require_at_least_one
from offramp.zoo.residual import BasicBlock, ResidualNetwork, shortcut


class Bottleneck(nn.Module):
    """1x1 to `width`, 3x3 with the stride (as in version 1.5), 1x1 to four times the width, and a shortcut."""

    EXPANSION = 4

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(width, self.EXPANSION * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(self.EXPANSION * width)
        self.downsample = shortcut(channels_in, self.EXPANSION * width, stride)
        self.relu3 = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps `[n, channels_in, h, w]` to `[n, 4 width, h / stride, w / stride]`."""
        residual = self.relu1(self.bn1(self.conv1(maps)))
        residual = self.relu2(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        result: Tensor = self.relu3(residual + self.downsample(maps))
        return result


class ResNet(ResidualNetwork):
    """7x7 stem and max-pooling, four stages `layer1` to `layer4`, average pooling, `fc`.

    Any image size works, as the pooling adapts. Parameters and buffers have the names and shapes of torchvision's
    networks, so that their weights load. Cuts are the stages ("layer1") and their blocks ("layer1.2").

    Args:
        block: of which the stages consist.
        blocks: number of them, for each of the four stages.
        num_classes: width of the output.
        in_channels: channels of the images.

    Raises:
        OfframpError: there are not four stages, or a size is below 1.

    Source: He et al. 2016, table 1. Differs in that the stride of a bottleneck is in its 3x3 convolution (version
    1.5).

    Example:
        >>> import torch
        >>> net = ResNet(BasicBlock, (1, 1, 1, 1), num_classes=5)
        >>> net(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 5])
    """

    WIDTHS = (64, 128, 256, 512)

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        blocks: Sequence[int],
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if len(blocks) != len(self.WIDTHS) or min(blocks) < 1:
            raise OfframpError(f"ResNet(blocks={tuple(blocks)}): give the number of blocks of four stages, each >= 1.")
        require_at_least_one(num_classes=num_classes, in_channels=in_channels)
        channels = self.WIDTHS[0]
        self.conv1 = nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        for i, (count, width) in enumerate(zip(blocks, self.WIDTHS, strict=True), start=1):
            self.add_module(f"layer{i}", _stage(block, channels, width, count, stride=1 if i == 1 else 2))
            channels = block.EXPANSION * width
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(channels, num_classes)
        self.apply(self._init_weights)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[n, num_classes]` of images `[n, in_channels, h, w]`."""
        maps = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for i in range(1, len(self.WIDTHS) + 1):
            maps = self.get_submodule(f"layer{i}")(maps)
        logits: Tensor = self.fc(self.flatten(self.avgpool(maps)))
        return logits


def _stage(
    block: type[BasicBlock | Bottleneck], channels_in: int, width: int, blocks: int, stride: int
) -> nn.Sequential:
    rest = (block(block.EXPANSION * width, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(block(channels_in, width, stride), *rest)


def _exits(blocks: Sequence[int]) -> PublishedExits:
    """Distiller's, behind the last block of the first and of the second stage."""
    first, second = partial(StridedConv.for_features, channels=10), partial(StridedConv.for_features, channels=12)
    return PublishedExits({f"layer1.{blocks[0] - 1}": first, f"layer2.{blocks[1] - 1}": second}, elsewhere=second)


@architecture("layer1", "layer2", exits=_exits((2, 2, 2, 2)))
def resnet18(num_classes: int = 1000, in_channels: int = 3, image_size: Size = 224) -> nn.Module:
    """ResNet-18: 8 basic blocks."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes=num_classes, in_channels=in_channels)


@architecture("layer1", "layer2", exits=_exits((3, 4, 6, 3)))
def resnet34(num_classes: int = 1000, in_channels: int = 3, image_size: Size = 224) -> nn.Module:
    """ResNet-34: 16 basic blocks."""
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes=num_classes, in_channels=in_channels)


@architecture("layer1", "layer2", exits=_exits((3, 4, 6, 3)))
def resnet50(num_classes: int = 1000, in_channels: int = 3, image_size: Size = 224) -> nn.Module:
    """ResNet-50: 16 bottlenecks."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes=num_classes, in_channels=in_channels)


@architecture("layer1", "layer2", exits=_exits((3, 4, 23, 3)))
def resnet101(num_classes: int = 1000, in_channels: int = 3, image_size: Size = 224) -> nn.Module:
    """ResNet-101: 33 bottlenecks."""
    return ResNet(Bottleneck, (3, 4, 23, 3), num_classes=num_classes, in_channels=in_channels)


@architecture("layer1", "layer2", exits=_exits((3, 8, 36, 3)))
def resnet152(num_classes: int = 1000, in_channels: int = 3, image_size: Size = 224) -> nn.Module:
    """ResNet-152: 50 bottlenecks."""
    return ResNet(Bottleneck, (3, 8, 36, 3), num_classes=num_classes, in_channels=in_channels)
