"""Data sets of Hugging Face: by name, or from a folder that `save_to_disk` wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from offramp.data.image_files import ImageFiles
from offramp.data.layouts.layout import Layout, Parts
from offramp.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from PIL.Image import Image

PREFIX = "hf:"
TESTS = ("test", "validation", "val", "valid")
"""Names of the part to test on, the preferred one first."""


def home(folder: Path) -> Path | None:
    """The folder itself, if `save_to_disk` wrote a set of several parts into it."""
    return folder if (folder / "dataset_dict.json").is_file() else None


def read(folder: Path) -> Parts:
    """The parts of a set that `save_to_disk` wrote.

    Raises:
        DataError: it is damaged, or lacks a part, the images or the labels.
        MissingExtraError: `datasets` is not installed.
    """
    library = _library()
    try:
        found = library.load_from_disk(str(folder))
    except Exception as error:
        raise DataError(
            f"{folder} cannot be read as a saved data set ({_first_line(error)}). Save it again."
        ) from error
    return _parts(found, str(folder))


def fetch(name: str) -> Parts:
    """The parts of a set by its name, e.g. "cifar10", "cifar10:plain_text" with a configuration, or of a local folder.

    It is downloaded where it is not in the cache of `datasets`.

    Raises:
        DataError: there is none of this name, it cannot be reached, or lacks a part, the images or the labels.
        MissingExtraError: `datasets` is not installed.
    """
    library = _library()
    path, _, configuration = name.partition(":")
    try:
        found = library.load_dataset(path, configuration or None)
    # Not only what `datasets` raises: also what the network, the file system and the set's own files give rise to.
    except Exception as error:
        raise DataError(
            f"{PREFIX}{name} cannot be had from Hugging Face ({_first_line(error)}). Check the name and the network, "
            "or give a folder that save_to_disk wrote."
        ) from error
    return _parts(found, PREFIX + name)


@dataclass(frozen=True)
class HubDecoder:
    """Decodes images of a data set by their number."""

    rows: Any
    column: str
    source: str

    def __call__(self, index: int) -> Image:
        """The pixels.

        Raises:
            DataError: the image is damaged; the message names it.
        """
        try:
            image: Image = self.rows[index][self.column]
            image.load()
        except Exception as error:
            raise DataError(f"Image {index} of {self.source} cannot be decoded ({_first_line(error)}).") from error
        return image


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError(
            "Data sets of Hugging Face need the package datasets, which is not installed. "
            "Run: pip install 'offramp[hub]'"
        ) from error
    return datasets


def _parts(found: Any, source: str) -> Parts:
    names = list(found) if hasattr(found, "keys") else []
    test = next((name for name in TESTS if name in names), None)
    if "train" not in names or test is None:
        raise DataError(f"{source} has the parts {names}; needed are train and one of {', '.join(TESTS)}.")
    return _images(found["train"], source, "train"), _images(found[test], source, test)


def _images(rows: Any, source: str, part: str) -> ImageFiles:
    library = _library()
    kinds = dict(rows.features)
    image = next((column for column, kind in kinds.items() if isinstance(kind, library.Image)), None)
    label = next((column for column, kind in kinds.items() if isinstance(kind, library.ClassLabel)), None)
    if image is None or label is None:
        described = ", ".join(f"{column}: {type(kind).__name__}" for column, kind in kinds.items())
        raise DataError(
            f"{source} ({part}) has the columns {described}; needed are one of images (Image) and one of labels "
            "(ClassLabel). Convert them with cast_column."
        )
    return ImageFiles(
        name=source.removeprefix(PREFIX),
        decode=HubDecoder(rows, image, f"{source} ({part})"),
        labels=torch.tensor(rows[label][:], dtype=torch.int64),
        classes=tuple(kinds[label].names),
        provenance=f"Hugging Face data set {source}, part {part}, fingerprint {rows._fingerprint}",
    )


def _first_line(error: Exception) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


LAYOUT = Layout(
    name="Hugging Face data set",
    looks="what save_to_disk of the package datasets wrote (dataset_dict.json), or by name hf:NAME",
    kind="imagenet",
    home=home,
    read=read,
)
