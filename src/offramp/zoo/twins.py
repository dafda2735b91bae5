"""Early-exit twins: `NAME_earlyexit` is the backbone NAME with the exits it was published with.

The exits can be moved, and others added, by naming submodules or shares of the MACs; the widths of the heads follow
from the tensors there, so that any number of classes, channels and any size of image will do.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from offramp import backbones
from offramp.errors import OfframpError, closest
from offramp.exit_model import ExitModel, attach
from offramp.heads import PooledLinear
from offramp.zoo.architecture import (
    ARCHITECTURES,
    IMAGES,
    TRAITS,
    ImageKind,
    MakeHead,
    PublishedExits,
    Size,
    height_and_width,
    kind_in,
)

SUFFIX = "_earlyexit"


def names() -> list[str]:
    """All architectures: the plain ones, and behind each its early-exit twin where it has one.

    Example:
        >>> [name for name in names() if name.startswith("resnet20")]
        ['resnet20_cifar', 'resnet20_cifar_earlyexit']
    """
    return [name for plain in ARCHITECTURES for name in _with_twin(plain)]


def is_early_exit(name: str) -> bool:
    """Whether the name is that of an early-exit twin.

    Raises:
        OfframpError: the name is unknown; the message names the closest.
    """
    check_name(name)
    return name.endswith(SUFFIX)


def plain_name(name: str) -> str:
    """Name of the backbone: the architecture's own, without the twin's ending.

    Raises:
        OfframpError: the name is unknown; the message names the closest.

    Example:
        >>> plain_name("resnet50_earlyexit")
        'resnet50'
    """
    check_name(name)
    return name.removesuffix(SUFFIX)


def check_name(name: str) -> None:
    """Refuses a name that is not an architecture's.

    Raises:
        OfframpError: naming the closest.
    """
    if name not in names():
        raise OfframpError(f"There is no architecture '{name}'. {closest(name, names())}")


def data_kind(name: str) -> str:
    """The kind of images an architecture is for: "cifar", "mnist" or "imagenet".

    Of the zoo's own it is known; of any other name it is what the name contains, else "imagenet", as in Distiller.

    Example:
        >>> data_kind("lenet"), data_kind("resnet20_cifar"), data_kind("resnet18")
        ('mnist', 'cifar', 'imagenet')
    """
    traits = TRAITS.get(name.removesuffix(SUFFIX))
    return traits.images if traits else kind_in(name)


def images_for(name: str) -> ImageKind:
    """Channels, size and number of classes that an architecture expects when nobody says otherwise."""
    return IMAGES[data_kind(name)]


def published_exits(name: str) -> list[str]:
    """Submodules behind which an architecture was published with exits, earliest first; none where it was not.

    Raises:
        OfframpError: the name is unknown; the message names the closest.

    Example:
        >>> published_exits("resnet50_earlyexit")
        ['layer1.2', 'layer2.3']
    """
    exits = TRAITS[plain_name(name)].exits
    return list(exits.heads) if exits else []


def build(
    name: str, num_classes: int | None = None, in_channels: int | None = None, image_size: Size | None = None
) -> nn.Module:
    """A new backbone, its weights drawn from torch's global random state.

    Args:
        name: a key of `ARCHITECTURES`.
        num_classes: width of the output; None for the data set that the architecture is for, as all of these.
        in_channels: channels of the images, 1 for grey and 3 for colour.
        image_size: side of the images in pixels, or height and width; most architectures take any.

    Raises:
        OfframpError: the name is unknown (the message names the closest) or of an early-exit twin, or a size is too
            small.

    Example:
        >>> build("resnet20_cifar", num_classes=100).fc.out_features
        100
    """
    check_name(name)
    if name.endswith(SUFFIX):
        raise OfframpError(f"'{name}' has exits: build it with build_with_exits, or '{plain_name(name)}' without.")
    images = images_for(name)
    return ARCHITECTURES[name](
        num_classes=images.classes if num_classes is None else num_classes,
        in_channels=images.channels if in_channels is None else in_channels,
        image_size=images.size if image_size is None else image_size,
    )


def build_with_exits(
    name: str,
    num_classes: int | None = None,
    in_channels: int | None = None,
    image_size: Size | None = None,
    exits: Sequence[str | float] | None = None,
    seed: int = 0,
) -> ExitModel:
    """A new network with early exits. The global random state is left alone.

    Args:
        name: an architecture; `NAME_earlyexit` has exits of its own.
        num_classes: as for `build`.
        in_channels: as for `build`.
        image_size: as for `build`.
        exits: where the exits go instead, in the order of running: names of submodules, or shares of the MACs between
            0 and 1 (as numbers or as text). Where one was published its head is the published one, elsewhere it is
            of the same kind; a network without published exits gets `pooled_linear`.
        seed: of the weights.

    Raises:
        OfframpError: the name is unknown, or a plain architecture's and `exits` is not given.
        AttachError: the network cannot be cut there; the message names the closest places.

    Example:
        >>> model = build_with_exits("resnet20_cifar_earlyexit", num_classes=100)
        >>> model.cuts, model.heads[0].linear.in_features
        (('layer1.2',), 1600)
    """
    plain = plain_name(name)
    if exits is None and not name.endswith(SUFFIX):
        raise OfframpError(f"'{name}' has no exits of its own{_twin_hint(plain)}: say where they go in exits.")
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which reseeds every accelerator too.
        torch.default_generator.manual_seed(seed)
        backbone = build(plain, num_classes, in_channels, image_size)
    example = _example(plain, in_channels, image_size)
    at = published_exits(name) if exits is None else [_place(item, backbone) for item in exits]
    places = backbones.names_at(backbone, at, example)
    heads = [_maker(TRAITS[plain].exits, place) for place in places]
    return attach(backbone, places, example, head=heads, seed=seed)


def _with_twin(plain: str) -> list[str]:
    return [plain, plain + SUFFIX] if TRAITS[plain].exits else [plain]


def _twin_hint(plain: str) -> str:
    return f" (its twin '{plain}{SUFFIX}' has)" if TRAITS[plain].exits else ""


def _example(plain: str, in_channels: int | None, image_size: Size | None) -> Tensor:
    images = images_for(plain)
    height, width = height_and_width(images.size if image_size is None else image_size)
    channels = images.channels if in_channels is None else in_channels
    return torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(0))


def _place(item: str | float, backbone: nn.Module) -> str | float:
    """A module's name where there is one of this name ("0.1" in a Sequential), and otherwise a share."""
    if not isinstance(item, str) or item in dict(backbone.named_modules()):
        return item
    try:
        return float(item)
    except ValueError:
        return item


def _maker(exits: PublishedExits | None, place: str) -> MakeHead:
    return exits.head_at(place) if exits else PooledLinear.for_features
