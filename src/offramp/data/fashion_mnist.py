"""Fashion-MNIST: 60,000 and 10,000 grey 28x28 images of clothes in 10 balanced classes. MIT licence.

Looked for in, one after the other: the folder given, `$OFFRAMP_DATA`, the cache, the folder that Debian's package
installs to. Obtained otherwise, where that is allowed, by Debian's package (no root needed) or from the official
archive.

Source: Xiao, Rasul, Vollgraf 2017, "Fashion-MNIST: a novel image dataset for benchmarking machine learning".
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from offramp.data import fetching, idx
from offramp.data.cache import cache_folder, install
from offramp.data.image_data import ImageData
from offramp.errors import DataError

NAME = "fashion-mnist"
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

# SHA-256 of the decompressed content: Debian recompressed the official files, so their .gz bytes differ.
# Debian's content was shown to be the official one: with the original gzip header it has the published MD5s.
SHA256 = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}

INSTALLED = Path("/usr/share/datasets/fashion-mnist")
DEBIAN_PACKAGE = "dataset-fashion-mnist"
# Plain HTTP is all that the authors' own site speaks; the checksums make up for it.
OFFICIAL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
ARCHIVES = ("https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/", OFFICIAL)


class NotFoundError(DataError):
    """Fashion-MNIST is in none of the places where it is looked for, and could not be obtained."""


def load(folder: str | Path | None = None, download: bool = True) -> tuple[ImageData, ImageData]:
    """The training part and the test part, every file checked by SHA-256.

    Args:
        folder: where the four gz files are; no other place is then looked at.
        download: whether the files may be obtained where they are not found.

    Raises:
        NotFoundError: the files are nowhere and cannot or may not be obtained; the message names the ways.
        DataError: `folder` lacks a file, or a file is not what its checksum promises.
    """
    found = find(folder) or obtain(download)
    return _read(found, "train"), _read(found, "t10k")


def find(folder: str | Path | None = None) -> Path | None:
    """The first folder that holds all four files, or None. Never fetches anything.

    Raises:
        DataError: `folder` is given and lacks a file.
    """
    if folder is not None:
        if lacking := _lacking(Path(folder)):
            raise DataError(
                f"The folder {folder} lacks {', '.join(lacking)}. Give the folder that holds the four gz files "
                "of Fashion-MNIST, or none to have it looked for."
            )
        return Path(folder)
    return next((place for place in _places() if not _lacking(place)), None)


def obtain(download: bool = True) -> Path:
    """Fetches the four files, checks them and puts them into the cache; returns the cache's folder.

    Raises:
        NotFoundError: no way worked, or `download` is False.
        DataError: the cache cannot be written.
    """
    reasons = [] if download else ["not tried, because download=False"]
    with tempfile.TemporaryDirectory(prefix="offramp-") as scratch:
        for way in _ways() if download else ():
            try:
                files = way(Path(scratch))
                for file in files:
                    checked_content(file)
            except DataError as error:
                reasons.append(str(error))
                continue
            install(files, _cached())
            return _cached()
    raise NotFoundError(_nowhere(reasons))


def checked_content(path: Path) -> bytes:
    """Decompressed content of one of the four files.

    Raises:
        DataError: its SHA-256 is not the published one; the message names file, expected and found digest.
    """
    content = idx.read_bytes(path)
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256[path.name]:
        raise DataError(
            f"{path} is not Fashion-MNIST's: the SHA-256 of its decompressed content is {digest}, expected "
            f"{SHA256[path.name]}. Delete the file and load again, or give a folder with the official files."
        )
    return content


def _read(folder: Path, part: str) -> ImageData:
    images, labels = folder / f"{part}-images-idx3-ubyte.gz", folder / f"{part}-labels-idx1-ubyte.gz"
    return ImageData(
        name=NAME,
        images=idx.parse(checked_content(images), images, dimensions=3).unsqueeze(1),
        labels=idx.parse(checked_content(labels), labels, dimensions=1).to(torch.int64),
        classes=CLASSES,
        provenance=f"Fashion-MNIST, read from {folder}, SHA-256 verified",
    )


def _cached() -> Path:
    return cache_folder() / NAME


def _places() -> Iterator[Path]:
    if given := os.environ.get("OFFRAMP_DATA"):
        yield Path(given)
        yield Path(given) / NAME
    yield _cached()
    yield INSTALLED


def _lacking(folder: Path) -> list[str]:
    return [name for name in SHA256 if not (folder / name).is_file()]


def _ways() -> Iterator[fetching.Way]:
    yield fetching.DebianPackage(DEBIAN_PACKAGE, files=tuple(SHA256))
    for address in ARCHIVES:
        yield fetching.Archive(address, files=tuple(SHA256))


def _nowhere(reasons: list[str]) -> str:
    places = ", ".join(str(place) for place in _places())
    return (
        f"Fashion-MNIST was not found in: {places}. Obtaining it: {'; '.join(reasons)}. "
        f"Install Debian's package {DEBIAN_PACKAGE}, or download the four gz files from {OFFICIAL} and "
        "set OFFRAMP_DATA to their folder."
    )
