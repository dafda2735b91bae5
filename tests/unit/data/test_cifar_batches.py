"""CIFAR's pickled batches: written and read again, in its author's own form, and damaged in every way."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from offramp import data
from offramp.data import ImageData
from offramp.data.layouts import cifar
from offramp.errors import DataError


def images(count: int, side: int = 32, channels: int = 3, classes: int = 10) -> ImageData:
    pixels = torch.randint(
        256, (count, channels, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(count)
    )
    return ImageData("noise", pixels, torch.arange(count) % classes, tuple("abcdefghij"[:classes]), "made up")


@pytest.fixture
def folder(tmp_path) -> Path:
    return data.write_cifar_batches(images(25), images(7), tmp_path)


def test_what_is_written_is_read_again(folder):
    assert folder.name == "cifar-10-batches-py"
    train, test = cifar.read(folder)
    assert torch.equal(train.images, images(25).images)
    assert torch.equal(test.labels, images(7).labels)
    assert train.classes == tuple("abcdefghij")


def test_grey_images_are_padded_and_coloured(tmp_path):
    source = images(10, side=28, channels=1)
    train, _ = cifar.read(data.write_cifar_batches(source, source, tmp_path))
    assert train.images.shape == (10, 3, 32, 32)
    for channel in range(3):
        assert torch.equal(train.images[:, channel, 2:30, 2:30], source.images[:, 0])
    assert int(train.images.sum()) == 3 * int(source.images.sum())


def test_large_images_are_scaled_down(tmp_path):
    source = images(5, side=64)
    assert cifar.read(data.write_cifar_batches(source, source, tmp_path))[0].images.shape == (5, 3, 32, 32)


def test_the_authors_own_form_is_read(tmp_path):
    # Python 2 wrote protocol 2 with byte strings for keys and text.
    pixels = np.arange(2 * 3072, dtype=np.int64).astype(np.uint8).reshape(2, 3072)
    for name in (*cifar.CIFAR10.train, "test_batch"):
        batch = {
            b"batch_label": b"training batch",
            b"labels": [3, 9],
            b"data": pixels,
            b"filenames": [b"x.png", b"y.png"],
        }
        (tmp_path / name).write_bytes(pickle.dumps(batch, protocol=2))
    names = {b"num_cases_per_batch": 2, b"label_names": [b"airplane", b"automobile", *[b"x"] * 8], b"num_vis": 3072}
    (tmp_path / "batches.meta").write_bytes(pickle.dumps(names, protocol=2))
    train, _ = cifar.read(tmp_path)
    assert train.classes[:2] == ("airplane", "automobile")
    assert train.labels.tolist() == [3, 9] * 5
    assert train.images[1, 2, 31, 31] == pixels[1, -1]


@pytest.mark.parametrize("protocol", range(2, 6))
def test_cifar_100_of_any_protocol(tmp_path, protocol):
    batch = {"data": np.zeros((3, 3072), np.uint8), "fine_labels": [0, 42, 99], "coarse_labels": [0, 1, 2]}
    for name in ("train", "test"):
        (tmp_path / name).write_bytes(pickle.dumps(batch, protocol=protocol))
    train, _ = cifar.read(tmp_path)
    assert (train.name, len(train.classes), train.labels.tolist()) == ("cifar-100", 100, [0, 42, 99])


def test_a_pickle_that_runs_code_is_refused_and_not_run(folder, tmp_path):
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harmed"),)

    (folder / "test_batch").write_bytes(pickle.dumps({"data": Harmful(), "labels": []}))
    with pytest.raises(DataError, match=r"test_batch is not opened: it asks for posix\.mkdir"):
        cifar.read(folder)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("callable_", [eval, np.save, np.lib.stride_tricks.as_strided, bytes.fromhex])
def test_no_other_function_can_be_reached(folder, callable_):
    class Reaching:
        def __reduce__(self):
            return callable_, ("1",)

    (folder / "data_batch_1").write_bytes(pickle.dumps(Reaching()))
    with pytest.raises(DataError, match="is not opened: it asks for"):
        cifar.read(folder)


def test_missing_batches_are_named(folder):
    for name in ("data_batch_3", "test_batch"):
        (folder / name).unlink()
    with pytest.raises(DataError, match=r"lacks data_batch_3, test_batch of cifar-10\. Unpack"):
        cifar.read(folder)


def test_a_truncated_batch_is_named(folder):
    path = folder / "data_batch_2"
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match="data_batch_2 is truncated or no pickled batch"):
        cifar.read(folder)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([1, 2], "holds a list where a dictionary"),
        ({"labels": [1]}, r"no 'data' of bytes \[n, 3072\] but NoneType"),
        ({"data": np.zeros((2, 784), np.uint8), "labels": [1, 2]}, r"but uint8 \[2, 784\]"),
        ({"data": np.zeros((2, 3072)), "labels": [1, 2]}, r"but float64 \[2, 3072\]"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, "2 images and 1 labels"),
        ({"data": np.zeros((2, 3072), np.uint8)}, "2 images and 0 labels"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1, 12]}, "labels run from 0 to 12"),
    ],
)
def test_what_is_no_batch_is_told(folder, batch, message):
    (folder / "data_batch_1").write_bytes(pickle.dumps(batch))
    with pytest.raises(DataError, match=message):
        cifar.read(folder)


def test_too_many_classes_cannot_be_written(tmp_path):
    many = ImageData("noise", images(22).images, torch.arange(22), tuple(map(str, range(22))), "made up")
    with pytest.raises(DataError, match=r"22 classes and 22 images.*at most 10"):
        data.write_cifar_batches(many, many, tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        data.write_cifar_batches(images(5), images(5), tmp_path / "file")
