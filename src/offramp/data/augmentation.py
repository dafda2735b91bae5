"""Random crop with padding and horizontal flip, on a whole batch at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from offramp.errors import DataError


@dataclass(frozen=True)
class Augmentation:
    """Each image is shifted by up to `padding` pixels in each direction and mirrored half of the time.

    What comes in at the borders is 0, which is black before normalisation. All randomness is drawn from torch's
    global state.

    Args:
        padding: pixels, from 0 (no shift).
        flip: whether to mirror left and right.

    Raises:
        DataError: `padding` is negative.
    """

    padding: int = 2
    flip: bool = True

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise DataError(f"Augmentation(padding={self.padding}): give a number of pixels from 0.")

    def __call__(self, images: Tensor) -> Tensor:
        """Augmented copies of images `[n, channels, height, width]`, of the same type and shape."""
        n, channels, height, width = images.shape
        padded = pad(images, (self.padding,) * 4)
        rows = self._shifts(n) + torch.arange(height)
        columns = self._shifts(n) + self._columns(n, width)
        pixels = rows[:, :, None] * padded.shape[-1] + columns[:, None, :]
        pixels = pixels.view(n, 1, height * width).expand(n, channels, height * width)
        return padded.flatten(2).gather(2, pixels).view_as(images)

    def _shifts(self, n: int) -> Tensor:
        return torch.randint(2 * self.padding + 1, (n, 1))

    def _columns(self, n: int, width: int) -> Tensor:
        """Column numbers `[n or 1, width]`, reversed for the images to mirror."""
        columns = torch.arange(width)
        return torch.where(torch.rand(n, 1) < 0.5, columns.flip(0), columns) if self.flip else columns[None]
