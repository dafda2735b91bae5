"""Mean and standard deviation per channel, taken from the training split and applied everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from offramp.errors import DataError


@dataclass(frozen=True)
class Normalisation:
    """`(pixel / 255 - mean) / std`, per channel.

    Args:
        mean: per channel, in units of pixel / 255.
        std: likewise, each > 0.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, images: Tensor) -> Normalisation:
        """Exact statistics of uint8 images `[n, channels, height, width]`; give the training split only.

        Raises:
            DataError: there are no images.
        """
        if not len(images):
            raise DataError("Normalisation.of: there are no images. Give those of the training split.")
        levels = torch.arange(256, dtype=torch.float64) / 255
        mean, std = [], []
        for channel in images.unbind(dim=1):
            # A histogram instead of a float copy of the images, which would take eight times their memory.
            share = torch.bincount(channel.flatten(), minlength=256).double() / channel.numel()
            mean.append(float(share @ levels))
            std.append(float(share @ (levels - mean[-1]) ** 2) ** 0.5)
        # A channel without any contrast is only shifted.
        return cls(tuple(mean), tuple(value if value > 1e-9 else 1.0 for value in std))

    def __call__(self, images: Tensor) -> Tensor:
        """Float32 images, normalised, of uint8 images `[n, channels, height, width]`."""
        std = torch.tensor(self.std).view(-1, 1, 1)
        mean = torch.tensor(self.mean).view(-1, 1, 1)
        # One multiplication and one subtraction per pixel; this line is most of a loader's time.
        return images.float().mul_(1 / (255 * std)).sub_(mean / std)
