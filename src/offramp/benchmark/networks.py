"""The networks of the benchmark: families of the zoo whose sizes a suite chooses, and its named architectures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from offramp import zoo
from offramp.errors import BenchmarkError, closest


def resnet(num_classes: int, in_channels: int, pooled: Sequence[int] = (1, 1), **sizes: Any) -> nn.Module:
    """A `ResNetCifar` whose last pooling keeps some places apart, for images where it matters what is where.

    Args:
        num_classes: width of the output.
        in_channels: channels of the images.
        pooled: height and width that the last pooling leaves; (1, 1) is the usual network.
        sizes: further sizes of the network.
    """
    net = zoo.ResNetCifar(num_classes=num_classes, in_channels=in_channels, **sizes)
    if tuple(pooled) != (1, 1):
        net.avgpool = nn.AdaptiveAvgPool2d(tuple(pooled))
        net.fc = nn.Linear(net.fc.in_features * math.prod(pooled), num_classes)
    return net


FAMILIES: dict[str, Callable[..., nn.Module]] = {
    "resnet": resnet,
    "vit": zoo.VisionTransformer,
    "text_transformer": zoo.TextTransformer,
}


def check_network(name: str) -> None:
    """Refuses a name that is neither a family nor an architecture.

    Raises:
        BenchmarkError: naming the closest.
    """
    if name not in FAMILIES and name not in zoo.ARCHITECTURES:
        known = [*FAMILIES, *zoo.ARCHITECTURES]
        raise BenchmarkError(f"there is no network '{name}'. {closest(name, known)}")


def backbone(name: str, options: Mapping[str, Any], shape: Mapping[str, int], seed: int) -> nn.Module:
    """A network without exits.

    Args:
        name: of a family or an architecture.
        options: sizes that the suite chooses.
        shape: sizes that follow from the data: `num_classes`, and `in_channels` or `vocabulary`.
        seed: of its weights; the global random state is left alone.

    Raises:
        BenchmarkError: the network does not take these sizes.
    """
    make = FAMILIES[name] if name in FAMILIES else zoo.ARCHITECTURES[name]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            return make(**options, **shape)
        except TypeError as error:
            raise BenchmarkError(
                f"The network '{name}' cannot be made of {dict(options)} and {dict(shape)} ({error}). Change "
                "network_options, or take a network for this kind of data."
            ) from error
