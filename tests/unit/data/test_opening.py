"""`open_data`: which layouts are recognised, how images reach a network, and what is said about everything else."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch

from offramp import data
from offramp.data import Augmentation, ImageData
from offramp.data.layouts import LAYOUTS
from offramp.errors import DataError


def images(count: int, side: int = 32, channels: int = 3) -> ImageData:
    pixels = torch.randint(
        256, (count, channels, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(count)
    )
    return ImageData("noise", pixels, torch.arange(count) % 10, tuple("abcdefghij"), "made up")


@pytest.fixture
def cifar(tmp_path) -> Path:
    return data.write_cifar_batches(images(60), images(20), tmp_path / "cifar")


@pytest.mark.parametrize("given", ["the folder itself", "the one above"])
def test_cifar_batches(cifar, given):
    opened = data.open_data(cifar if given == "the folder itself" else cifar.parent)
    assert (opened.layout, opened.kind, opened.shape, len(opened.classes)) == (
        "CIFAR batches",
        "cifar",
        (3, 32, 32),
        10,
    )
    assert opened.training_view == Augmentation(padding=4, flip=True)


def test_train_is_augmented_and_nothing_else_is(cifar):
    opened = data.open_data(cifar)
    splits = opened.divide(validation=0.25, seed=1)
    normalisation = opened.normalisation(splits)
    for name, part in (("validation", opened.train), ("test", opened.test), ("train", opened.train)):
        pixels = torch.cat([batch for batch, _ in opened.loader(name, splits, normalisation)])
        torch.testing.assert_close(pixels, normalisation(part.images[getattr(splits, name)]))
    torch.manual_seed(0)
    ((augmented, labels),) = list(opened.train_loader(splits, normalisation, batch_size=45))
    assert augmented.shape == (45, 3, 32, 32)
    plain = normalisation(opened.train.images[splits.train])
    unchanged = sum(bool((image == plain).flatten(1).all(1).any()) for image in augmented)
    assert unchanged < 5
    assert sorted(labels.tolist()) == sorted(opened.train.labels[splits.train].tolist())


def test_the_division_is_stratified_reproducible_and_can_be_reduced(cifar):
    opened = data.open_data(cifar)
    whole = opened.divide(validation=20, calibration=10, seed=3)
    assert whole.record() == opened.divide(validation=20, calibration=10, seed=3).record()
    less = opened.divide(validation=20, calibration=10, seed=3, fractions={"train": 0.34, "test": 0.5})
    assert less.record()["sizes"] == {"train": 10, "validation": 20, "calibration": 10, "test": 10}
    assert set(less.train.tolist()) < set(whole.train.tolist())
    assert opened.test.labels[less.test].sort().values.tolist() == list(range(10))


def test_idx_files_plain_packed_and_below_raw(tiny_files, tmp_path):
    assert data.open_data(tiny_files).train.name == "fashion-mnist"
    raw = tmp_path / "mnist" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in tiny_files.iterdir():
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    opened = data.open_data(tmp_path / "mnist")
    assert (opened.layout, opened.kind, opened.shape) == ("idx files", "mnist", (1, 28, 28))
    assert opened.train.name == "mnist"
    assert opened.training_view is None
    (raw / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"lacks t10k-labels-idx1-ubyte \(or the same with \.gz\)"):
        data.open_data(tmp_path / "mnist")


def test_truncated_idx_files_are_told(tiny_files, tmp_path):
    path = tiny_files / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is truncated"):
        data.open_data(tiny_files)


def test_an_image_folder_is_cropped_for_imagenet(tmp_path):
    pytest.importorskip("PIL.Image")
    folder = data.write_image_folder(images(20, side=40), images(10, side=40), tmp_path / "set")
    opened = data.open_data(folder, image_size=16)
    assert (opened.layout, opened.kind, opened.shape) == ("image folder", "imagenet", (3, 16, 16))
    splits = opened.divide(validation=0.5)
    normalisation = opened.normalisation(splits)
    assert normalisation.mean == (0.485, 0.456, 0.406)
    loaders = opened.train_loader(splits, normalisation, batch_size=4), opened.loader("test", splits, normalisation)
    assert [next(iter(loader))[0].shape for loader in loaders] == [(4, 3, 16, 16), (10, 3, 16, 16)]
    first, again = (torch.cat([batch for batch, _ in loaders[1]]) for _ in range(2))
    assert torch.equal(first, again)
    assert data.open_data(folder).shape == (3, 224, 224)


def test_an_image_folder_for_small_networks_keeps_its_square(tmp_path):
    pytest.importorskip("PIL.Image")
    source = images(10, side=20)
    folder = data.write_image_folder(source, source, tmp_path)
    opened = data.open_data(folder, kind="cifar")
    assert opened.shape == (3, 20, 20)
    assert torch.equal(opened.train.images, source.images)
    assert data.open_data(folder, kind="mnist", image_size=28).shape == (1, 28, 28)


def test_small_images_are_enlarged_where_that_is_asked_for(cifar):
    assert data.open_data(cifar, kind="cifar", image_size=40).train.images.shape[-2:] == (40, 40)
    opened = data.open_data(cifar, kind="imagenet", image_size=48)
    splits = opened.divide()
    assert next(iter(opened.loader("test", splits, opened.normalisation(splits))))[0].shape == (20, 3, 48, 48)


def test_a_set_by_its_name(tiny_files, monkeypatch):
    monkeypatch.setenv("OFFRAMP_DATA", str(tiny_files))
    assert len(data.open_data("fashion-mnist").train) == 20


def test_nothing_there_says_what_there_might_be(tmp_path):
    with pytest.raises(DataError) as caught:
        data.open_data(tmp_path / "absent")
    assert "There is no data folder" in str(caught.value)
    assert all(layout.name in str(caught.value) for layout in LAYOUTS)


def test_an_unknown_layout_says_what_was_found(tmp_path):
    for name in ("readme.txt", "a.csv", "b.csv", "c.csv"):
        (tmp_path / name).write_text("")
    with pytest.raises(DataError, match=r"found: a\.csv, b\.csv, c\.csv and 1 more\. Known layouts are: CIFAR batches"):
        data.open_data(tmp_path)


def test_an_empty_folder(tmp_path):
    with pytest.raises(DataError, match="found: nothing"):
        data.open_data(tmp_path)


def test_data_one_folder_deeper_is_pointed_at(cifar):
    with pytest.raises(DataError, match=rf"one folder deeper: give {cifar.parent}\."):
        data.open_data(cifar.parent.parent)


def test_an_archive_is_to_be_unpacked(tmp_path):
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(b"")
    for given in (tmp_path, archive):
        with pytest.raises(DataError, match=r"Unpack cifar-10-python\.tar\.gz first"):
            data.open_data(given)


@pytest.mark.parametrize(
    ("options", "message"), [({"kind": "svhn"}, "kind='svhn'"), ({"image_size": 0}, "image_size=0")]
)
def test_impossible_options(tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        data.open_data(tmp_path, **options)
