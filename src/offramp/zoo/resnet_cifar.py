"""Residual networks for small images: ResNet-20 to ResNet-1202, and a small one that trains on a laptop."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from offramp.errors import OfframpError
from offramp.heads import AvgPoolLinear
from offramp.zoo.architecture import PublishedExits, Size, architecture, require_at_least_one
from offramp.zoo.residual import BasicBlock, ResidualNetwork


class ResNetCifar(ResidualNetwork):
    """3x3 stem without max-pooling, stages `layer1`, `layer2`, ... of basic blocks, average pooling, `fc`.

    The defaults are ResNet-20. Any image size works, as the pooling adapts. Cuts are the stages ("layer1") and
    their blocks ("layer1.2").

    Args:
        blocks: basic blocks of each stage.
        widths: channels of each stage.
        strides: stride of each stage's first block.
        stem_width: channels of the stem; None means those of the first stage.
        stem_stride: stride of the stem; 2 quarters the cost of everything after it.
        num_classes: width of the output.
        in_channels: channels of the images.

    Raises:
        OfframpError: the stages are described by lists of different lengths, or a size is below 1.

    Source: He et al. 2016, section 4.2. Differs in the shortcut: 1x1 convolution and batch norm (their option
    B) where they pad with zeros, as in Distiller.

    Example:
        >>> import torch
        >>> net = ResNetCifar(blocks=(1, 1), widths=(8, 16), strides=(1, 2), in_channels=1)
        >>> net(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        blocks: Sequence[int] = (3, 3, 3),
        widths: Sequence[int] = (16, 32, 64),
        strides: Sequence[int] = (1, 2, 2),
        *,
        stem_width: int | None = None,
        stem_stride: int = 1,
        num_classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        _check_stages(blocks, widths, strides)
        channels = widths[0] if stem_width is None else stem_width
        require_at_least_one(num_classes=num_classes, in_channels=in_channels)
        require_at_least_one(stem_width=channels, stem_stride=stem_stride)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stem_stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.stages = len(blocks)
        for i, (count, width, stride) in enumerate(zip(blocks, widths, strides, strict=True), start=1):
            self.add_module(f"layer{i}", _stage(channels, width, count, stride))
            channels = width
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(channels, num_classes)
        self.apply(self._init_weights)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[n, num_classes]` of images `[n, in_channels, h, w]`."""
        maps = self.relu(self.bn1(self.conv1(images)))
        for i in range(1, self.stages + 1):
            maps = self.get_submodule(f"layer{i}")(maps)
        logits: Tensor = self.fc(self.flatten(self.avgpool(maps)))
        return logits


def _stage(channels_in: int, channels_out: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(channels_in, channels_out, stride)
    return nn.Sequential(first, *(BasicBlock(channels_out, channels_out, 1) for _ in range(blocks - 1)))


def _check_stages(blocks: Sequence[int], widths: Sequence[int], strides: Sequence[int]) -> None:
    described = f"blocks={tuple(blocks)}, widths={tuple(widths)}, strides={tuple(strides)}"
    if not len(blocks) == len(widths) == len(strides) or not blocks:
        raise OfframpError(f"ResNetCifar({described}): give one number per stage in each, and one stage at least.")
    if min(*blocks, *widths, *strides) < 1:
        raise OfframpError(f"ResNetCifar({described}): each number must be at least 1.")


# Distiller's exit, behind the third block at every depth: the end of the first stage for ResNet-20 only.
EXITS = PublishedExits({"layer1.2": AvgPoolLinear.for_features}, elsewhere=AvgPoolLinear.for_features)


def _resnet_cifar(blocks_per_stage: int, num_classes: int, in_channels: int) -> nn.Module:
    return ResNetCifar((blocks_per_stage,) * 3, num_classes=num_classes, in_channels=in_channels)


@architecture("layer1", "layer2", exits=EXITS)
def resnet20_cifar(num_classes: int = 10, in_channels: int = 3, image_size: Size = 32) -> nn.Module:
    """ResNet-20: three stages of 3 blocks."""
    return _resnet_cifar(3, num_classes, in_channels)


@architecture("layer1", "layer2", exits=EXITS)
def resnet32_cifar(num_classes: int = 10, in_channels: int = 3, image_size: Size = 32) -> nn.Module:
    """ResNet-32: three stages of 5 blocks."""
    return _resnet_cifar(5, num_classes, in_channels)


@architecture("layer1", "layer2", exits=EXITS)
def resnet44_cifar(num_classes: int = 10, in_channels: int = 3, image_size: Size = 32) -> nn.Module:
    """ResNet-44: three stages of 7 blocks."""
    return _resnet_cifar(7, num_classes, in_channels)


@architecture("layer1", "layer2", exits=EXITS)
def resnet56_cifar(num_classes: int = 10, in_channels: int = 3, image_size: Size = 32) -> nn.Module:
    """ResNet-56: three stages of 9 blocks."""
    return _resnet_cifar(9, num_classes, in_channels)


@architecture("layer1", "layer2", exits=EXITS)
def resnet110_cifar(num_classes: int = 10, in_channels: int = 3, image_size: Size = 32) -> nn.Module:
    """ResNet-110: three stages of 18 blocks."""
    return _resnet_cifar(18, num_classes, in_channels)


@architecture("layer1", "layer2", exits=EXITS)
def resnet1202_cifar(num_classes: int = 10, in_channels: int = 3, image_size: Size = 32) -> nn.Module:
    """ResNet-1202: three stages of 200 blocks."""
    return _resnet_cifar(200, num_classes, in_channels)


@architecture("layer1.0", "layer1", "layer2.0", images="cifar")
def resnet_small(num_classes: int = 10, in_channels: int = 3, image_size: Size = 32) -> nn.Module:
    """The network of the demo: two blocks a stage behind a strided stem, for images of about 28x28."""
    return ResNetCifar((2, 2, 2), stem_stride=2, num_classes=num_classes, in_channels=in_channels)
