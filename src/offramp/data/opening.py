"""`open_data`: recognises how a data set lies in a folder, and hands it out as a kind of networks needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch.utils.data import DataLoader

from offramp.data.augmentation import Augmentation
from offramp.data.catalogue import DATASETS, load
from offramp.data.crops import CentreCrop, RandomResizedCrop
from offramp.data.image_data import ImageData
from offramp.data.image_files import ImageFiles
from offramp.data.layouts import LAYOUTS, Layout, Parts, hub
from offramp.data.layouts.image_folder import listing
from offramp.data.loaders import Batch, View, evaluation_loader, train_loader
from offramp.data.normalisation import Normalisation
from offramp.data.splits import Splits, reduced, split
from offramp.errors import DataError, closest

IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""What published ImageNet networks were trained with."""

KINDS = {"cifar": 32, "mnist": 28, "imagenet": 224}
"""Kinds of images, and the side in pixels that image files of a kind are brought to."""
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")


@dataclass(frozen=True)
class Opened:
    """A data set, and what is done to its images before a network sees them.

    Attributes:
        train: the training part, to be divided.
        test: the test part.
        layout: name of the layout on disk.
        kind: kind of images: decides on augmentation and, for image files, on the size.
        shape: channels, height and width of an image as the network gets it.
        training_view: augmentation, for the train split only.
        evaluation_view: what brings other images to the network's size; None where they have it.
    """

    train: ImageData | ImageFiles
    test: ImageData | ImageFiles
    layout: str
    kind: str
    shape: tuple[int, int, int]
    training_view: View
    evaluation_view: View

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.train.classes

    def divide(
        self,
        validation: int | float = 0.1,
        calibration: int | float = 0.0,
        seed: int = 0,
        fractions: Mapping[str, float] | None = None,
    ) -> Splits:
        """Divides the training part, stratified; the test part stays whole.

        Args:
            validation: count, or share of the training part.
            calibration: likewise.
            seed: another seed, another division.
            fractions: how much of a split is used at all, by its name; see `reduced`.

        Raises:
            DataError: the sizes do not fit, or a fraction is impossible.
        """
        splits = split(
            self.train.labels, validation=validation, calibration=calibration, test=len(self.test), seed=seed
        )
        return reduced(splits, self.train.labels, self.test.labels, **(fractions or {}))

    def normalisation(self, splits: Splits) -> Normalisation:
        """Of the train split where it is in memory; ImageNet's for image files, which would all have to be decoded."""
        if isinstance(self.train, ImageData):
            return Normalisation.of(self.train.images[splits.train])
        return IMAGENET

    def train_loader(
        self, splits: Splits, normalisation: Normalisation, batch_size: int = 128, workers: int = 0
    ) -> DataLoader[Batch]:
        """Shuffled and augmented batches of the train split; see `offramp.data.train_loader`.

        Raises:
            DataError: the split is empty.
        """
        return train_loader(
            self.train,
            splits.train,
            normalisation,
            batch_size=batch_size,
            augmentation=self.training_view,
            workers=workers,
        )

    def loader(
        self, name: str, splits: Splits, normalisation: Normalisation, batch_size: int = 256, workers: int = 0
    ) -> DataLoader[Batch]:
        """Batches of any split in order, without augmentation; see `offramp.data.evaluation_loader`.

        Args:
            name: "train", "validation", "calibration" or "test".
            splits: from `divide`.
            normalisation: of the train split.
            batch_size: images per batch; the last one may be smaller.
            workers: processes that prepare batches.

        Raises:
            DataError: the split is empty.
        """
        part = self.test if name == "test" else self.train
        return evaluation_loader(
            part,
            getattr(splits, name),
            normalisation,
            batch_size=batch_size,
            view=self.evaluation_view,
            workers=workers,
        )


def open_data(path: str | Path, kind: str | None = None, image_size: int | None = None) -> Opened:
    """Opens a data set, whatever its layout.

    Args:
        path: a folder with CIFAR batches, idx files, image files or a saved Hugging Face set; or "hf:NAME" for one by
            name; or a name of `DATASETS`.
        kind: "cifar" (random shift by 4 pixels and mirroring), "mnist" (none) or "imagenet" (random resized crop and
            mirroring; in evaluation the middle); None for what is usual in the layout. See `zoo.data_kind`.
        image_size: side in pixels to which images are brought. By default image files become 224x224 for "imagenet"
            and otherwise keep their size where the first is a square; images in memory keep theirs for all but
            "imagenet".

    Raises:
        DataError: nothing is there, no layout is recognised, or something is missing or damaged. The message says what
            was found and what the layouts look like.
        MissingExtraError: a package that the layout needs is not installed.

    Example:
        >>> opened = open_data("digits")
        >>> opened.shape, len(opened.train), opened.kind
        ((1, 28, 28), 1438, 'mnist')
    """
    if kind is not None and kind not in KINDS:
        raise DataError(f"open_data(kind={kind!r}): give one of {', '.join(KINDS)}. {closest(kind, KINDS)}")
    if image_size is not None and image_size < 1:
        raise DataError(f"open_data(image_size={image_size}): give a number of pixels from 1.")
    layout, usual, parts = _found(path)
    return _prepared(parts, layout, kind or usual, image_size)


def _found(path: str | Path) -> tuple[str, str, Parts]:
    """Name of the layout, its usual kind, and the parts."""
    text = str(path)
    if text.startswith(hub.PREFIX):
        return hub.LAYOUT.name, hub.LAYOUT.kind, hub.fetch(text.removeprefix(hub.PREFIX))
    if text in DATASETS and not Path(path).exists():
        return text, "mnist", load(text, fallback=False)
    home, layout = _recognised(Path(path))
    return layout.name, layout.kind, layout.read(home)


def _recognised(folder: Path) -> tuple[Path, Layout]:
    if not folder.exists():
        raise DataError(f"There is no data folder {folder}. {_known()}")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; give the folder that holds the data. {_unpacking([folder])}{_known()}")
    for layout in LAYOUTS:
        if home := layout.home(folder):
            return home, layout
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    deeper = next((path for path in inside if any(layout.home(path) for layout in LAYOUTS)), None)
    advice = f"The data is one folder deeper: give {deeper}. " if deeper else _unpacking(sorted(folder.iterdir()))
    raise DataError(f"{folder} is laid out in no known way; found: {listing(folder)}. {advice}{_known()}")


def _unpacking(paths: list[Path]) -> str:
    packed = next((path.name for path in paths if path.name.endswith(ARCHIVES)), None)
    return f"Unpack {packed} first. " if packed else ""


def _known() -> str:
    layouts = "; ".join(f"{layout.name}: {layout.looks}" for layout in LAYOUTS)
    return f"Known layouts are: {layouts}. By name: {', '.join(DATASETS)}."


def _prepared(parts: Parts, layout: str, kind: str, image_size: int | None) -> Opened:
    if kind == "imagenet":
        size = image_size or KINDS[kind]
        views: tuple[View, View] = RandomResizedCrop(size), CentreCrop(size)
        return Opened(*parts, layout, kind, (parts[0].channels, size, size), *views)
    train, test = (_in_memory(part, parts[0], kind, image_size) for part in parts)
    channels, height, width = train.images.shape[1:]
    training = Augmentation(padding=4) if kind == "cifar" else None
    return Opened(train, test, layout, kind, (channels, height, width), training, None)


def _in_memory(part: ImageData | ImageFiles, first: ImageData | ImageFiles, kind: str, size: int | None) -> ImageData:
    if isinstance(part, ImageFiles):
        side = size or (first.side() if isinstance(first, ImageFiles) else None) or KINDS[kind]
        return part.in_memory(side, channels=1 if kind == "mnist" else 3)
    if size is None or part.images.shape[-2:] == (size, size):
        return part
    return part.scaled(size)
