"""The noun of this folder: a set of labelled images in memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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
        self._check_labels()

    def _check_labels(self) -> None:
        if not len(self.labels):
            raise DataError(f"{self.name}: there are no images in this set.")
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= len(self.classes):
            raise DataError(
                f"{self.name}: labels run from {low} to {high}, but there are {len(self.classes)} classes; "
                f"each label must be in [0, {len(self.classes) - 1}]."
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return self.images.shape[1]

    @staticmethod
    def _described(tensor: Tensor) -> str:
        return f"{tensor.dtype} {list(tensor.shape)}"
