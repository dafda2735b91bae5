"""Image files in a folder per class, below `train` and `val`, as ImageNet is usually unpacked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from offramp.data.image_data import ImageData
from offramp.data.image_files import ImageFiles, import_pillow
from offramp.data.layouts.layout import Layout, Parts
from offramp.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

TRAIN, TEST = "train", "val"
ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})
SHOWN = 3
"""Names listed in a message before it is cut short."""


def home(folder: Path) -> Path | None:
    """The folder itself, if `train` or `val` is a folder in it."""
    return folder if (folder / TRAIN).is_dir() or (folder / TEST).is_dir() else None


def read(folder: Path) -> Parts:
    """The training part (`train`) and the test part (`val`); nothing is decoded yet.

    Raises:
        DataError: a part or a class is missing, or a class is empty.
        MissingExtraError: Pillow is not installed.
    """
    import_pillow()
    for part in (TRAIN, TEST):
        if not (folder / part).is_dir():
            raise DataError(
                f"{folder} has no folder {part}; found: {listing(folder)}. The images belong in {TRAIN}/CLASS/ and "
                f"{TEST}/CLASS/; rename or link what is there."
            )
    classes = {part: _classes(folder / part) for part in (TRAIN, TEST)}
    _check_same_classes(folder, set(classes[TRAIN]), set(classes[TEST]))
    return _part(folder, TRAIN, classes[TRAIN]), _part(folder, TEST, classes[TEST])


def write(train: ImageData, test: ImageData, folder: str | Path) -> Path:
    """Lays images out as PNG files in a folder per class, to run what expects those on other images.

    Args:
        train: goes to `train`.
        test: goes to `val`.
        folder: where both are made; classes are named by their numbers.

    Raises:
        DataError: the folder cannot be written.
        MissingExtraError: Pillow is not installed.
    """
    try:
        for part, images in ((TRAIN, train), (TEST, test)):
            _write_part(images, Path(folder) / part)
    except OSError as error:
        raise DataError(f"{folder} cannot be written ({error}). Choose a folder you can write to.") from error
    return Path(folder)


@dataclass(frozen=True)
class FileDecoder:
    """Opens image files by their number."""

    paths: tuple[Path, ...]

    def __call__(self, index: int) -> Image:
        """The pixels.

        Raises:
            DataError: the file is gone, damaged or no image; the message names it.
        """
        path = self.paths[index]
        try:
            with import_pillow().open(path) as image:
                image.load()
                opened: Image = image
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{path} cannot be decoded ({error}). Replace the file or delete it.") from error
        return opened


def listing(folder: Path) -> str:
    """The first names in a folder, for a message."""
    try:
        names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    except OSError as error:
        return f"nothing that can be read ({error})"
    return _some(names) if names else "nothing"


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _classes(part: Path) -> tuple[str, ...]:
    names = tuple(sorted(path.name for path in part.iterdir() if path.is_dir()))
    if not names:
        raise DataError(f"{part} has no folder per class; found: {listing(part)}. Put the images into {part}/CLASS/.")
    return names


def _check_same_classes(folder: Path, train: set[str], test: set[str]) -> None:
    alone = {TRAIN: sorted(train - test), TEST: sorted(test - train)}
    described = " and ".join(f"{_some(names)} in {part} only" for part, names in alone.items() if names)
    if described:
        raise DataError(
            f"{folder} has {described}. Both {TRAIN} and {TEST} need a folder of the same name for every class."
        )


def _part(folder: Path, part: str, classes: tuple[str, ...]) -> ImageFiles:
    paths, labels = [], []
    for label, name in enumerate(classes):
        found = sorted(path for path in (folder / part / name).rglob("*") if path.suffix.lower() in ENDINGS)
        if not found:
            raise DataError(
                f"{folder / part / name} holds no image; found: {listing(folder / part / name)}. Known endings: "
                f"{', '.join(sorted(ENDINGS))}."
            )
        paths += found
        labels += [label] * len(found)
    return ImageFiles(
        folder.resolve().name, FileDecoder(tuple(paths)), torch.tensor(labels), classes, f"image files in {folder}"
    )


def _write_part(images: ImageData, folder: Path) -> None:
    pillow = import_pillow()
    digits = len(str(len(images.classes) - 1))
    for label in range(len(images.classes)):
        (folder / f"{label:0{digits}}").mkdir(parents=True, exist_ok=True)
    for i, (pixels, label) in enumerate(zip(images.images, images.labels.tolist(), strict=True)):
        values = pixels.permute(1, 2, 0).contiguous().numpy()
        image = pillow.fromarray(values[..., 0] if images.channels == 1 else values)
        image.save(folder / f"{label:0{digits}}" / f"{i:06}.png")


LAYOUT = Layout(
    name="image folder",
    looks=f"the folders {TRAIN} and {TEST}, each with a folder of image files per class (ImageNet)",
    kind="imagenet",
    home=home,
    read=read,
)
