"""The noun of this folder: a set of labelled images in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from offramp.errors import DataError


@dataclass(frozen=True)
class ImageData:
    """Labelled images, as they are stored: not normalised, not augmented.

    Args:
        name: the set's short name, e.g. "fashion-mnist".
        images: uint8 `[n, channels, height, width]`.
        labels: int64 `[n]`, each in [0, len(classes)).
        classes: what the labels mean.
        provenance: where the images come from, and whether that was checked.
        notice: what whoever shows results on these images must announce; empty where there is nothing to say.

    Raises:
        DataError: shapes, types or labels do not fit together.
    """

    name: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    provenance: str
    notice: str = ""

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise DataError(
                f"{self.name}: images are {self._described(self.images)}; "
                "give torch.uint8 [n, channels, height, width]."
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise DataError(
                f"{self.name}: labels are {self._described(self.labels)}; "
                f"give torch.int64 [{len(self.images)}], one per image."
            )
        check_labels(self.name, self.labels, self.classes)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return self.images.shape[1]

    def scaled(self, size: int) -> ImageData:
        """The same images, `size` pixels high and wide."""
        images = interpolate(self.images.float(), size=(size, size), mode="bilinear", antialias=True)
        return replace(self, images=images.round_().clamp_(0, 255).to(torch.uint8))

    @staticmethod
    def _described(tensor: Tensor) -> str:
        return f"{tensor.dtype} {list(tensor.shape)}"


def check_labels(name: str, labels: Tensor, classes: Sequence[str]) -> None:
    """Refuses labels without a class, and sets without images.

    Raises:
        DataError: naming the set and the labels.
    """
    if not len(labels):
        raise DataError(f"{name}: there are no images in this set.")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(classes):
        raise DataError(
            f"{name}: labels run from {low} to {high}, but there are {len(classes)} classes; "
            f"each label must be in [0, {len(classes) - 1}]."
        )
