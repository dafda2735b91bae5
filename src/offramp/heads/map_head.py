"""What heads of a convolution and one linear layer have in common: they read maps of one size."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Self

from torch import Tensor, nn

from offramp.errors import AttachError
from offramp.heads.head import ExitHead
from offramp.registry import snake_case


class MapHead(ExitHead):
    """A head for maps `[n, c, h, w]` with one convolution, `conv`; derived classes say how many channels it has.

    Args:
        channels_in: number of channels at the cut.
        size: height and width at the cut.
        classes: number of logits.
        channels: of the convolution's output; None for the class's own.
    """

    CHANNELS: ClassVar[int]
    conv: nn.Conv2d

    @abstractmethod
    def __init__(self, channels_in: int, size: tuple[int, int], classes: int, channels: int | None = None) -> None:
        super().__init__()

    @classmethod
    def for_features(cls, features: Tensor, classes: int, channels: int | None = None) -> Self:
        """Reads channels and size; images `[n, c, h, w]` only."""
        if features.ndim != 4:
            raise AttachError(
                f"{snake_case(cls.__name__)} reads images [n, c, h, w], the cut has {list(features.shape)}. "
                "Use head='pooled_linear'."
            )
        _, channels_in, height, width = features.shape
        return cls(channels_in, (height, width), classes, channels)

    def settings(self) -> dict[str, int]:
        """See `ExitHead.settings`."""
        return {"channels": self.conv.out_channels}
