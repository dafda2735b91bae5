"""CIFAR-10 and CIFAR-100 as their author packed them for Python: pickled batches of 32x32 colour images.

A batch is a dictionary of `data`, uint8 `[n, 3072]` (1,024 red, then green, then blue), and `labels` (CIFAR-10) or
`fine_labels` (CIFAR-100). Pickles can run code; these are read by an unpickler that knows arrays and nothing else.

Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images", and the page of the data set.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from offramp.data.image_data import ImageData
from offramp.data.layouts.layout import Layout, Parts
from offramp.errors import DataError

SIDE = 32
_AGAIN = "Unpack the archive again."


@dataclass(frozen=True)
class Version:
    """One of the two sets.

    Attributes:
        name: of the set.
        folder: that its archive unpacks to.
        train: files of the training part.
        test: file of the test part.
        meta: file with the names of the classes.
        labels: key of the labels in a batch.
        names: key of the classes' names in the meta file.
        classes: how many there are.
    """

    name: str
    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels: str
    names: str
    classes: int


CIFAR10 = Version(
    "cifar-10",
    "cifar-10-batches-py",
    tuple(f"data_batch_{i}" for i in range(1, 6)),
    "test_batch",
    "batches.meta",
    "labels",
    "label_names",
    10,
)
CIFAR100 = Version("cifar-100", "cifar-100-python", ("train",), "test", "meta", "fine_labels", "fine_label_names", 100)
VERSIONS = (CIFAR10, CIFAR100)

# Where numpy's pickles say that its functions are differs between its versions; these are all of them.
_ARRAY_MODULES = (
    "numpy",
    "numpy.core.multiarray",
    "numpy._core.multiarray",
    "numpy.core.numeric",
    "numpy._core.numeric",
)
_ALLOWED: dict[str, Any] = {
    "ndarray": np.ndarray,
    "dtype": np.dtype,
    "_reconstruct": np.empty(0).__reduce__()[0],
    "_frombuffer": np.empty(0).__reduce_ex__(5)[0],
}


def home(folder: Path) -> Path | None:
    """The folder itself or the one that the archive unpacks to, if it holds a batch."""
    for place, version in ((folder / sub, v) for v in VERSIONS for sub in ("", v.folder)):
        if any((place / name).is_file() for name in (*version.train, version.test)):
            return place
    return None


def read(folder: Path) -> Parts:
    """The training part and the test part.

    Raises:
        DataError: a file is missing, truncated, holds something else than a batch, or anything that is no plain data.
    """
    version = next(v for v in VERSIONS if any((folder / name).is_file() for name in (*v.train, v.test)))
    lacking = [name for name in (*version.train, version.test) if not (folder / name).is_file()]
    if lacking:
        raise DataError(f"{folder} lacks {', '.join(lacking)} of {version.name}. {_AGAIN}")
    classes = _classes(folder, version)
    return _part(folder, version, version.train, classes), _part(folder, version, (version.test,), classes)


def write(train: ImageData, test: ImageData, folder: str | Path) -> Path:
    """Lays images out as CIFAR-10 batches, to run what expects those on other images.

    Grey images become colour; images below 32x32 are padded with black, larger ones scaled down.

    Args:
        train: of at most 10 classes.
        test: likewise.
        folder: where `cifar-10-batches-py` is made.

    Returns:
        The folder with the batches.

    Raises:
        DataError: there are more than 10 classes or fewer than 5 images, or the folder cannot be written.
    """
    if len(train.classes) > CIFAR10.classes or len(train) < len(CIFAR10.train):
        raise DataError(
            f"{train.name} has {len(train.classes)} classes and {len(train)} images; CIFAR-10 batches take at most "
            f"{CIFAR10.classes} classes, and one image for each of {len(CIFAR10.train)} files at least."
        )
    target = Path(folder) / CIFAR10.folder
    try:
        target.mkdir(parents=True, exist_ok=True)
        parts = zip(_rows(train.images).chunk(5), train.labels.chunk(5), strict=True)
        for name, (rows, labels) in zip(CIFAR10.train, parts, strict=True):
            _write_batch(target / name, rows, labels)
        _write_batch(target / CIFAR10.test, _rows(test.images), test.labels)
        (target / CIFAR10.meta).write_bytes(pickle.dumps({CIFAR10.names: list(train.classes)}))
    except OSError as error:
        raise DataError(f"{target} cannot be written ({error}). Choose a folder you can write to.") from error
    return target


class _PlainUnpickler(pickle.Unpickler):
    """Builds arrays, numbers, text, lists and dictionaries; refuses to look up anything else."""

    def find_class(self, module: str, name: str) -> Any:
        """See `pickle.Unpickler.find_class`."""
        if module in _ARRAY_MODULES and name in _ALLOWED:
            return _ALLOWED[name]
        # How Python 3 writes bytes in the old protocols.
        if (module, name) == ("_codecs", "encode"):
            return _encoded
        raise DataError(f"it asks for {module}.{name}, which a batch of images has no need of")


def _encoded(text: str, encoding: str) -> bytes:
    return text.encode("latin1") if encoding == "latin1" else text.encode("utf8")


def _unpickled(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
        found = _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}). Check the path and its permissions.") from error
    except DataError as error:
        raise DataError(f"{path} is not opened: {error}. Get the data set from its author's page.") from error
    except Exception as error:
        raise DataError(
            f"{path} is truncated or no pickled batch ({type(error).__name__}: {error}). {_AGAIN}"
        ) from error
    if not isinstance(found, Mapping):
        raise DataError(f"{path} holds a {type(found).__name__} where a dictionary is expected. {_AGAIN}")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in found.items()}


def _classes(folder: Path, version: Version) -> tuple[str, ...]:
    if not (folder / version.meta).is_file():
        return tuple(str(i) for i in range(version.classes))
    names = _unpickled(folder / version.meta).get(version.names)
    if not isinstance(names, Sequence) or not names:
        raise DataError(f"{folder / version.meta} has no {version.names}. {_AGAIN}")
    return tuple(name.decode("utf8") if isinstance(name, bytes) else str(name) for name in names)


def _part(folder: Path, version: Version, files: Sequence[str], classes: tuple[str, ...]) -> ImageData:
    batches = [_batch(folder / name, version) for name in files]
    return ImageData(
        name=version.name,
        images=torch.cat([images for images, _ in batches]),
        labels=torch.cat([labels for _, labels in batches]),
        classes=classes,
        provenance=f"CIFAR batches, read from {folder}, not checked against published sums",
    )


def _batch(path: Path, version: Version) -> tuple[Tensor, Tensor]:
    found = _unpickled(path)
    rows, labels = found.get("data"), found.get(version.labels)
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != 3 * SIDE**2:
        raise DataError(f"{path} has no 'data' of bytes [n, {3 * SIDE**2}] but {_described(rows)}. {_AGAIN}")
    if labels is None or len(labels) != len(rows):
        raise DataError(f"{path} has {len(rows)} images and {0 if labels is None else len(labels)} labels. {_AGAIN}")
    images = torch.from_numpy(rows.copy()).view(-1, 3, SIDE, SIDE)
    return images, torch.tensor([int(label) for label in labels], dtype=torch.int64)


def _described(value: object) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__


def _rows(images: Tensor) -> Tensor:
    """Bytes `[n, 3072]` of images `[n, 1 or 3, height, width]`."""
    height, width = images.shape[-2:]
    if max(height, width) > SIDE:
        scaled = interpolate(images.float(), size=(SIDE, SIDE), mode="bilinear", antialias=True)
        images = scaled.round_().clamp_(0, 255).to(torch.uint8)
    else:
        left, top = (SIDE - width) // 2, (SIDE - height) // 2
        images = pad(images, (left, SIDE - width - left, top, SIDE - height - top))
    return images.expand(-1, 3, -1, -1).flatten(1)


def _write_batch(path: Path, rows: Tensor, labels: Tensor) -> None:
    path.write_bytes(pickle.dumps({"data": rows.contiguous().numpy(), CIFAR10.labels: labels.tolist()}))


LAYOUT = Layout(
    name="CIFAR batches",
    looks="data_batch_1 ... data_batch_5 and test_batch (CIFAR-10), or the files train, test and meta (CIFAR-100), or "
    "the folder cifar-10-batches-py or cifar-100-python that holds them",
    kind="cifar",
    home=home,
    read=read,
)
