"""What a network sees of images of any size: one box of each, scaled to a fixed size, possibly mirrored.

The boxes of a batch are drawn at once. Where an image has to be decoded first, Pillow cuts and scales it in one step
(`ImageFiles`); images in memory are cut as a batch, by calling the crop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from offramp.errors import DataError

ATTEMPTS = 10
"""Boxes drawn for each image before the middle is taken, as in torchvision."""


class Boxes(NamedTuple):
    """Which part of each image is taken.

    Attributes:
        corners: float32 `[n, 4]`: left, top, right, bottom, in pixels of the image.
        mirrored: bool `[n]`, left and right exchanged.
    """

    corners: Tensor
    mirrored: Tensor


@dataclass(frozen=True)
class Crop(ABC):
    """A way to choose boxes.

    Args:
        size: side of the square that each box becomes, in pixels.

    Raises:
        DataError: `size` is below 1.
    """

    size: int = 224

    def __post_init__(self) -> None:
        if self.size < 1:
            raise DataError(f"{type(self).__name__}(size={self.size}): give a number of pixels from 1.")

    @abstractmethod
    def boxes(self, sizes: Tensor) -> Boxes:
        """One box per image.

        Args:
            sizes: int64 `[n, 2]`, height and width of each image.
        """

    def __call__(self, images: Tensor) -> Tensor:
        """The boxes of uint8 images `[n, channels, height, width]`, scaled to uint8 `[n, channels, size, size]`."""
        sizes = torch.tensor(images.shape[-2:]).expand(len(images), 2)
        corners, mirrored = self.boxes(sizes)
        # A grid runs from left to right; exchanging the two sides of the box mirrors it.
        left = torch.where(mirrored, corners[:, 2], corners[:, 0])
        right = torch.where(mirrored, corners[:, 0], corners[:, 2])
        across = self._positions(left, right, images.shape[-1])[:, None, :]
        down = self._positions(corners[:, 1], corners[:, 3], images.shape[-2])[:, :, None]
        square = (len(images), self.size, self.size)
        grid = torch.stack([across.expand(square), down.expand(square)], dim=-1)
        scaled = grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
        return scaled.round_().clamp_(0, 255).to(torch.uint8)

    def _positions(self, start: Tensor, end: Tensor, length: int) -> Tensor:
        """Where the pixels of the result lie along one side, `[n, size]` in the units of `grid_sample`, -1 to 1."""
        steps = (torch.arange(self.size) + 0.5) / self.size
        return (start[:, None] + steps * (end - start)[:, None]) * (2 / length) - 1


@dataclass(frozen=True)
class RandomResizedCrop(Crop):
    """A box of random area and shape at a random place, for training.

    All randomness is drawn from torch's global state, equally much for every image. Images in memory are scaled
    without smoothing, which shows only where a box is larger than `size`.

    Args:
        size: as for `Crop`.
        scale: smallest and largest area, as a share of the image's.
        ratio: smallest and largest width / height.
        flip: whether half of the images are mirrored.

    Source: Szegedy et al. 2015, section 6, in torchvision's form: up to ten boxes are drawn, and where none fits in,
    the largest one in the middle within `ratio` is taken.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True

    def boxes(self, sizes: Tensor) -> Boxes:
        """See `Crop.boxes`."""
        n, (height, width) = len(sizes), sizes.double().unbind(1)
        area = (height * width)[:, None] * torch.empty(n, ATTEMPTS).uniform_(*self.scale)
        ratio = torch.empty(n, ATTEMPTS).uniform_(*(torch.tensor(self.ratio).log().tolist())).exp()
        widths, heights = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        fits = (widths >= 1) & (widths <= width[:, None]) & (heights >= 1) & (heights <= height[:, None])
        first = fits.int().argmax(1, keepdim=True)
        middle = torch.rand(n, 2)
        box_width, box_height = widths.gather(1, first)[:, 0], heights.gather(1, first)[:, 0]
        left = (middle[:, 0] * (width - box_width + 1)).floor()
        top = (middle[:, 1] * (height - box_height + 1)).floor()
        drawn = torch.stack([left, top, left + box_width, top + box_height], dim=1)
        corners = torch.where(fits.any(1, keepdim=True), drawn, self._middle(height, width))
        mirrored = (torch.rand(n) < 0.5) & torch.tensor(self.flip)
        return Boxes(corners.float(), mirrored)

    def _middle(self, height: Tensor, width: Tensor) -> Tensor:
        box_width = torch.minimum(width, (height * self.ratio[1]).round())
        box_height = torch.minimum(height, (width / self.ratio[0]).round())
        return _centred(height, width, box_height, box_width)


@dataclass(frozen=True)
class CentreCrop(Crop):
    """The middle, for evaluation: scaling the shorter side to `size / share` and cutting `size` out, in one step.

    Args:
        size: as for `Crop`.
        share: of the shorter side; 224 / 256 is what ImageNet's networks are measured with.
    """

    share: float = 224 / 256

    def boxes(self, sizes: Tensor) -> Boxes:
        """See `Crop.boxes`."""
        height, width = sizes.double().unbind(1)
        side = torch.minimum(height, width) * self.share
        return Boxes(_centred(height, width, side, side).float(), torch.zeros(len(sizes), dtype=torch.bool))

    def __call__(self, images: Tensor) -> Tensor:
        """See `Crop.__call__`; smoothed where the box is larger than `size`."""
        (box,) = self.boxes(torch.tensor([images.shape[-2:]])).corners.round().int().tolist()
        middle = images[..., box[1] : max(box[3], box[1] + 1), box[0] : max(box[2], box[0] + 1)].float()
        scaled = interpolate(middle, size=(self.size, self.size), mode="bilinear", align_corners=False, antialias=True)
        return scaled.round_().clamp_(0, 255).to(torch.uint8)


def _centred(height: Tensor, width: Tensor, box_height: Tensor, box_width: Tensor) -> Tensor:
    left, top = (width - box_width) / 2, (height - box_height) / 2
    return torch.stack([left, top, left + box_width, top + box_height], dim=1)
