"""Batches for training and evaluation: ordinary torch DataLoaders, so that accelerate can shard them.

A batch is indexed, augmented and normalised as a whole, which is many times faster than image by image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from offramp.data.augmentation import Augmentation
from offramp.data.crops import Crop
from offramp.data.image_data import ImageData
from offramp.data.image_files import ImageFiles
from offramp.data.normalisation import Normalisation
from offramp.errors import DataError

Batch = tuple[Tensor, Tensor]
View = Augmentation | Crop | None
"""What is done to images before they are normalised; image files need a crop, as they differ in size."""


class BatchedImages(Dataset[Batch]):
    """Some of the images of a set, handed out in whole batches.

    Args:
        data: the set.
        indices: int64 `[n]`, which of its images; see `split`.
        normalisation: of the training split.
        view: augmentation, or a crop; None for images in memory as they are.

    Raises:
        DataError: there are no indices, one is out of range, or there is no crop for image files.
    """

    def __init__(
        self,
        data: ImageData | ImageFiles,
        indices: Tensor,
        normalisation: Normalisation,
        view: View = None,
    ) -> None:
        if not len(indices):
            raise DataError(f"A loader of {data.name} without images: the split is empty. Make it larger.")
        if int(indices.min()) < 0 or int(indices.max()) >= len(data):
            raise DataError(
                f"A loader of {data.name} is asked for the images {int(indices.min())} to "
                f"{int(indices.max())}; there are 0 to {len(data) - 1}. Were the splits made for another part?"
            )
        self.labels = data.labels[indices]
        self.pixels = _pixels(data, indices, view)
        self.normalisation = normalisation

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        """One image `[channels, height, width]` and its label `[]`."""
        images, labels = self.__getitems__([index])
        return images[0], labels[0]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Images, float32 `[n, channels, height, width]`, and labels, int64 `[n]`.

        The name is torch's: its DataLoader calls this, where there is one, with the indices of a whole batch.
        """
        chosen = torch.as_tensor(indices)
        return self.normalisation(self.pixels(chosen)), self.labels[chosen]


@dataclass(frozen=True)
class _InMemory:
    """Pixels of the chosen images, by their place in the split."""

    images: Tensor
    view: View

    def __call__(self, chosen: Tensor) -> Tensor:
        images = self.images[chosen]
        return images if self.view is None else self.view(images)


@dataclass(frozen=True)
class _Decoded:
    """The same for image files."""

    files: ImageFiles
    indices: Tensor
    crop: Crop

    def __call__(self, chosen: Tensor) -> Tensor:
        return self.files.cropped(self.indices[chosen], self.crop)


def _pixels(data: ImageData | ImageFiles, indices: Tensor, view: View) -> Callable[[Tensor], Tensor]:
    if isinstance(data, ImageData):
        return _InMemory(data.images[indices], view)
    if not isinstance(view, Crop):
        raise DataError(f"A loader of {data.name}: image files differ in size, so a crop is needed, not {view}.")
    return _Decoded(data, indices, view)


def train_loader(
    data: ImageData | ImageFiles,
    indices: Tensor,
    normalisation: Normalisation,
    *,
    batch_size: int = 128,
    augmentation: View = Augmentation(),  # noqa: B008 - frozen, so sharing it is safe
    workers: int = 0,
) -> DataLoader[Batch]:
    """Shuffled and augmented batches.

    Order and augmentation are a pure function of torch's global random state: whoever restores that state
    before an epoch gets the same epoch, bit for bit.

    Args:
        data: the training part.
        indices: int64 `[n]`, the train split.
        normalisation: of the train split.
        batch_size: images per batch; the last one may be smaller.
        augmentation: None for none; a crop for image files.
        workers: processes that prepare batches; 0, the training process itself, is fastest for small images.

    Raises:
        DataError: the split is empty or of another set.
    """
    images = BatchedImages(data, indices, normalisation, augmentation)
    return DataLoader(images, batch_size, shuffle=True, num_workers=workers, collate_fn=_as_it_is)


def evaluation_loader(
    data: ImageData | ImageFiles,
    indices: Tensor,
    normalisation: Normalisation,
    *,
    batch_size: int = 512,
    view: View = None,
    workers: int = 0,
) -> DataLoader[Batch]:
    """Batches in the order of `indices`, never augmented.

    Args:
        data: the part.
        indices: int64 `[n]`, the split.
        normalisation: of the train split.
        batch_size: images per batch; the last one may be smaller.
        view: a crop that is the same each time, needed for image files; None for images in memory as they are.
        workers: processes that prepare batches.

    Raises:
        DataError: the split is empty or of another set.
    """
    images = BatchedImages(data, indices, normalisation, view)
    return DataLoader(images, batch_size, shuffle=False, num_workers=workers, collate_fn=_as_it_is)


def _as_it_is(batch: Any) -> Any:
    # What arrives is a Batch already; torch's signature only knows collating lists.
    return batch
