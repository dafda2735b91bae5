"""MNIST and its descendants (Fashion-MNIST, KMNIST): four idx files, plain or compressed with gzip."""

from __future__ import annotations

from pathlib import Path

import torch

from offramp.data import fashion_mnist
from offramp.data.idx import read_idx
from offramp.data.image_data import ImageData
from offramp.data.layouts.layout import Layout, Parts
from offramp.errors import DataError

SUFFIXES = ("", ".gz")
PARTS = ("train", "t10k")
INSIDE = ("", "raw", "MNIST/raw", "FashionMNIST/raw", "fashion-mnist")
"""Where the files may lie in the folder that is given; other libraries put them below `raw`."""


def home(folder: Path) -> Path | None:
    """The folder that holds an idx file of images."""
    places = (folder / inside for inside in INSIDE)
    return next((place for place in places if any(_found(place, part, "images-idx3") for part in PARTS)), None)


def read(folder: Path) -> Parts:
    """The training part and the test part.

    Files that are Fashion-MNIST's by their checksums get its name and its classes.

    Raises:
        DataError: a file is missing, truncated or of another kind.
    """
    wanted = [(part, content) for part in PARTS for content in ("images-idx3", "labels-idx1")]
    lacking = [f"{part}-{content}-ubyte" for part, content in wanted if not _found(folder, part, content)]
    if lacking:
        raise DataError(f"{folder} lacks {', '.join(lacking)} (or the same with .gz). Put all four files there.")
    try:
        return fashion_mnist.load(folder)
    except DataError:
        return _part(folder, "train"), _part(folder, "t10k")


def _found(folder: Path, part: str, content: str) -> Path | None:
    candidates = (folder / f"{part}-{content}-ubyte{suffix}" for suffix in SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def _part(folder: Path, part: str) -> ImageData:
    images, labels = (_found(folder, part, content) for content in ("images-idx3", "labels-idx1"))
    assert images is not None
    assert labels is not None
    values = read_idx(labels, dimensions=1).to(torch.int64)
    classes = max(10, int(values.max()) + 1) if len(values) else 10
    return ImageData(
        name="mnist",
        images=read_idx(images, dimensions=3).unsqueeze(1),
        labels=values,
        classes=tuple(str(i) for i in range(classes)),
        provenance=f"idx files, read from {folder}, not checked against published sums",
    )


LAYOUT = Layout(
    name="idx files",
    looks="train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each "
    "with or without .gz (MNIST, Fashion-MNIST)",
    kind="mnist",
    home=home,
    read=read,
)
