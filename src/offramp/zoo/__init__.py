"""Backbones to try early exits on. None of them knows anything about exits.

To add one: a new file here with a builder decorated by `architecture`, and its import below; the tests of the
zoo then cover it by its existence.
"""

from __future__ import annotations

from torch import nn

from offramp.zoo.architecture import ARCHITECTURES, Builder, architecture, default_cuts
from offramp.zoo.lenet import LeNet, lenet
from offramp.zoo.resnet_cifar import (
    ResNetCifar,
    resnet20_cifar,
    resnet32_cifar,
    resnet44_cifar,
    resnet56_cifar,
    resnet110_cifar,
    resnet_small,
)
from offramp.zoo.text_transformer import TextTransformer
from offramp.zoo.vision_transformer import VisionTransformer, vit_mini

__all__ = [
    "ARCHITECTURES",
    "Builder",
    "LeNet",
    "ResNetCifar",
    "TextTransformer",
    "VisionTransformer",
    "architecture",
    "build",
    "default_cuts",
    "lenet",
    "resnet20_cifar",
    "resnet32_cifar",
    "resnet44_cifar",
    "resnet56_cifar",
    "resnet110_cifar",
    "resnet_small",
    "vit_mini",
]


def build(name: str, num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """A new backbone, its weights drawn from torch's global random state.

    Args:
        name: a key of `ARCHITECTURES`.
        num_classes: width of the output.
        in_channels: channels of the images, 1 for grey and 3 for colour.

    Raises:
        OfframpError: the name is unknown (the message names the closest), or a size is below 1.

    Example:
        >>> build("resnet20_cifar", num_classes=100).fc.out_features
        100
    """
    return ARCHITECTURES[name](num_classes=num_classes, in_channels=in_channels)
