"""The contract of an exit head (internal classifier) and the registry that names its members."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self, TypeVar

from torch import Tensor, nn

from offramp.errors import AttachError
from offramp.registry import Registry


class ExitHead(nn.Module, ABC):
    """Turns the tensor at a cut into logits, each row on its own."""

    @classmethod
    @abstractmethod
    def for_features(cls, features: Tensor, classes: int) -> Self:
        """Builds the head for a cut.

        Args:
            features: the tensor at the cut, `[n, ...]`; only its shape is read.
            classes: number of logits.

        Raises:
            AttachError: the head cannot read tensors of this shape.
        """

    def settings(self) -> dict[str, int]:
        """What `for_features` must be told besides the features to build this head again, by the argument's name."""
        return {}

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Logits `[n, classes]`."""


HEADS: Registry[type[ExitHead]] = Registry("exit head", AttachError)

Member = TypeVar("Member", bound=type[ExitHead])


def register(member: Member) -> Member:
    """Class decorator that files a head under its name in snake case."""
    HEADS.register(member)
    return member
