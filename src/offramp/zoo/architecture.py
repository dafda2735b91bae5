"""The registry of the zoo: builders under their own names, each with the cuts that suit it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import nn

from offramp.errors import OfframpError
from offramp.registry import Registry


class Builder(Protocol):
    """A function that makes a new backbone; its name is the architecture's."""

    def __call__(self, num_classes: int = 10, in_channels: int = 3) -> nn.Module:
        """New weights, drawn from torch's global random state."""


ARCHITECTURES: Registry[Builder] = Registry("architecture")

_DEFAULT_CUTS: dict[str, tuple[str, ...]] = {}


def architecture(*cuts: str) -> Callable[[Builder], Builder]:
    """Function decorator: files a builder under its name, together with its default cuts, earliest first."""

    def file(builder: Builder) -> Builder:
        ARCHITECTURES.register(builder)
        _DEFAULT_CUTS[ARCHITECTURES.name_of(builder)] = cuts
        return builder

    return file


def default_cuts(name: str) -> list[str]:
    """Names of the submodules after which this architecture gets its early exits, earliest first.

    Raises:
        OfframpError: the name is unknown; the message names the closest.

    Example:
        >>> from offramp import zoo
        >>> zoo.default_cuts("resnet20_cifar")
        ['layer1', 'layer2']
    """
    if name not in ARCHITECTURES:
        ARCHITECTURES[name]
    return list(_DEFAULT_CUTS[name])


def require_at_least_one(**sizes: int) -> None:
    """Refuses a size below 1.

    Raises:
        OfframpError: naming the size and its value.
    """
    for name, size in sizes.items():
        if size < 1:
            raise OfframpError(f"{name}={size}: a network needs at least 1.")
