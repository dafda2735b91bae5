"""Labelled images that are too many or too large for the memory: decoded when they are needed, with Pillow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from offramp.data.crops import Crop
from offramp.data.image_data import ImageData, check_labels
from offramp.errors import MissingExtraError

if TYPE_CHECKING:
    from PIL.Image import Image

Decode = Callable[[int], "Image"]
"""From the number of an image to its pixels; raises DataError where they cannot be read."""


@dataclass(frozen=True)
class ImageFiles:
    """Labelled colour images of any size.

    Args:
        name: the set's short name.
        decode: gives an image by its number; picklable, as a loader's workers get a copy.
        labels: int64 `[n]`, each in [0, len(classes)).
        classes: what the labels mean.
        provenance: where the images come from.

    Raises:
        DataError: there are none, or a label has no class.
    """

    name: str
    decode: Decode
    labels: Tensor
    classes: tuple[str, ...]
    provenance: str

    def __post_init__(self) -> None:
        check_labels(self.name, self.labels, self.classes)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def channels(self) -> int:
        """3: every image is converted to colour."""
        return 3

    def cropped(self, indices: Tensor, crop: Crop) -> Tensor:
        """Boxes of some images, decoded and scaled: uint8 `[n, 3, size, size]`.

        Raises:
            DataError: an image cannot be decoded; the message names it.
        """
        pillow = import_pillow()
        images = [self.decode(i).convert("RGB") for i in indices.tolist()]
        corners, mirrored = crop.boxes(torch.tensor([(image.height, image.width) for image in images]))
        square = (crop.size, crop.size)
        batch = torch.empty(len(images), *square, 3, dtype=torch.uint8)
        for k, image in enumerate(images):
            scaled = image.resize(square, pillow.Resampling.BILINEAR, box=tuple(corners[k].tolist()))
            batch[k] = as_tensor(scaled)
        batch[mirrored] = batch[mirrored].flip(2)
        return batch.permute(0, 3, 1, 2)

    def in_memory(self, size: int, channels: int) -> ImageData:
        """All images, scaled to one size.

        Args:
            size: side in pixels.
            channels: 1 for grey, 3 for colour.

        Raises:
            DataError: an image cannot be decoded; the message names it.
        """
        pillow = import_pillow()
        images = torch.empty(len(self), channels, size, size, dtype=torch.uint8)
        for i in range(len(self)):
            image = self.decode(i).convert("L" if channels == 1 else "RGB")
            if image.size != (size, size):
                image = image.resize((size, size), pillow.Resampling.BILINEAR)
            images[i] = as_tensor(image).view(size, size, channels).permute(2, 0, 1)
        return ImageData(self.name, images, self.labels, self.classes, self.provenance)

    def side(self) -> int | None:
        """Side of the first image where that is a square, else None."""
        first = self.decode(0)
        return first.width if first.width == first.height else None


def as_tensor(image: Image) -> Tensor:
    """Pixels of a Pillow image, uint8 `[height, width]` or `[height, width, channels]`."""
    values = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    bands = len(image.getbands())
    return values.view(image.height, image.width, *([bands] if bands > 1 else []))


def import_pillow() -> Any:
    """The module `PIL.Image`.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(
            "Decoding images needs Pillow, which is not installed. Run: pip install 'offramp[images]'"
        ) from error
    return Image
