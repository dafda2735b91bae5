"""The registry of the zoo: builders under their own names, each with the cuts that suit it.

An architecture that was published with early exits also has a twin: `resnet20_cifar` is the plain network,
`resnet20_cifar_earlyexit` the same backbone with those exits (see `offramp.zoo.twins`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor, nn

from offramp.errors import OfframpError
from offramp.registry import Registry

Size = int | tuple[int, int]
"""Of an image: the side of a square, or height and width."""


class Builder(Protocol):
    """A function that makes a new backbone; its name is the architecture's, its defaults are those of its images."""

    def __call__(self, num_classes: int = ..., in_channels: int = ..., image_size: Size = ...) -> nn.Module:
        """New weights, drawn from torch's global random state."""


B = TypeVar("B", bound=Builder)
MakeHead = Callable[[Tensor, int], nn.Module]
"""From the tensor at a cut and the number of classes to a head; see `offramp.attach`."""


@dataclass(frozen=True)
class PublishedExits:
    """The early exits with which an architecture was published.

    Attributes:
        heads: how to make each head, by the submodule behind which it is, earliest first.
        elsewhere: how to make the head of an exit that was moved or added.
    """

    heads: Mapping[str, MakeHead]
    elsewhere: MakeHead

    def head_at(self, place: str) -> MakeHead:
        """How to make the head behind a submodule."""
        return self.heads.get(place, self.elsewhere)


@dataclass(frozen=True)
class Traits:
    """What is known of an architecture besides its builder.

    Attributes:
        cuts: submodules after which it gets early exits when nobody says where, earliest first.
        images: the kind of images it was made for; a key of `IMAGES`.
        exits: those it was published with, if any.
    """

    cuts: tuple[str, ...]
    images: str
    exits: PublishedExits | None


@dataclass(frozen=True)
class ImageKind:
    """Images as a kind of networks expects them.

    Attributes:
        channels: 1 for grey, 3 for colour.
        size: height and width in pixels.
        classes: of the data set that the kind is named after.
    """

    channels: int
    size: int
    classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(channels, height, width)`."""
        return self.channels, self.size, self.size


IMAGES = {"cifar": ImageKind(3, 32, 10), "mnist": ImageKind(1, 28, 10), "imagenet": ImageKind(3, 224, 1000)}
"""The kinds of images, in the order in which a name is searched for them."""

ARCHITECTURES: Registry[Builder] = Registry("architecture")

TRAITS: dict[str, Traits] = {}


def kind_in(name: str) -> str:
    """The kind of images that an architecture's name stands for: what it contains of `IMAGES`, else "imagenet".

    Source: Distiller's rule, `compress_classifier.py --arch`.

    Example:
        >>> kind_in("resnet32_cifar_earlyexit"), kind_in("resnet50")
        ('cifar', 'imagenet')
    """
    return next((kind for kind in IMAGES if kind in name), "imagenet")


def architecture(*cuts: str, images: str | None = None, exits: PublishedExits | None = None) -> Callable[[B], B]:
    """Function decorator: files a builder under its name.

    Args:
        *cuts: submodules after which it gets exits by default, earliest first.
        images: key of `IMAGES`; None for what the name says.
        exits: those it was published with; gives it a twin of the name `NAME_earlyexit`.
    """

    def file(builder: B) -> B:
        ARCHITECTURES.register(builder)
        name = ARCHITECTURES.name_of(builder)
        TRAITS[name] = Traits(cuts, images or kind_in(name), exits)
        return builder

    return file


def traits_of(name: str) -> Traits:
    """Traits of a plain architecture.

    Raises:
        OfframpError: the name is unknown; the message names the closest.
    """
    if name not in ARCHITECTURES:
        ARCHITECTURES[name]
    return TRAITS[name]


def default_cuts(name: str) -> list[str]:
    """Names of the submodules after which this architecture gets its early exits, earliest first.

    Raises:
        OfframpError: the name is unknown; the message names the closest.

    Example:
        >>> from offramp import zoo
        >>> zoo.default_cuts("resnet20_cifar")
        ['layer1', 'layer2']
    """
    return list(traits_of(name).cuts)


def require_at_least_one(**sizes: int) -> None:
    """Refuses a size below 1.

    Raises:
        OfframpError: naming the size and its value.
    """
    for name, size in sizes.items():
        if size < 1:
            raise OfframpError(f"{name}={size}: a network needs at least 1.")


def height_and_width(image_size: Size) -> tuple[int, int]:
    """Both sides of an image.

    Raises:
        OfframpError: one is below 1.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    require_at_least_one(image_height=height, image_width=width)
    return height, width


def require_size(network: str, image_size: Size, least: int, left: int) -> None:
    """Refuses images of which nothing is left behind the last pooling.

    Args:
        network: its name, for the message.
        image_size: what was asked for.
        least: smallest side that will do.
        left: shorter side of the maps behind the last pooling.

    Raises:
        OfframpError: `left` is below 1.
    """
    if left < 1:
        raise OfframpError(f"{network}(image_size={image_size}): give at least {least}x{least} pixels.")
