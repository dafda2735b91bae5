"""Networks to try early exits on: plain backbones, and the early-exit twins of those published with exits.

To add one: a new file here with a builder decorated by `architecture`, and its import below; the tests of the
zoo then cover it by its existence.
"""

from __future__ import annotations

from offramp.zoo.architecture import (
    ARCHITECTURES,
    IMAGES,
    Builder,
    ImageKind,
    PublishedExits,
    architecture,
    default_cuts,
)
from offramp.zoo.branchy_lenet import BranchyLeNet
from offramp.zoo.lenet import LeNet
from offramp.zoo.resnet import ResNet
from offramp.zoo.resnet_cifar import ResNetCifar
from offramp.zoo.simplenet import SimpleNet
from offramp.zoo.text_transformer import TextTransformer
from offramp.zoo.twins import (
    build,
    build_with_exits,
    data_kind,
    images_for,
    is_early_exit,
    names,
    plain_name,
    published_exits,
)
from offramp.zoo.vision_transformer import VisionTransformer
from offramp.zoo.weights import Loaded, load_weights

__all__ = [
    "ARCHITECTURES",
    "IMAGES",
    "BranchyLeNet",
    "Builder",
    "ImageKind",
    "LeNet",
    "Loaded",
    "PublishedExits",
    "ResNet",
    "ResNetCifar",
    "SimpleNet",
    "TextTransformer",
    "VisionTransformer",
    "architecture",
    "build",
    "build_with_exits",
    "data_kind",
    "default_cuts",
    "images_for",
    "is_early_exit",
    "load_weights",
    "names",
    "plain_name",
    "published_exits",
]
