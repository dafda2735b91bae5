"""Image files in a folder per class: read, decoded in batches, and mislaid."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from offramp import data
from offramp.data import CentreCrop, ImageData, Normalisation, RandomResizedCrop
from offramp.data.layouts import image_folder
from offramp.errors import DataError, MissingExtraError

Image = pytest.importorskip("PIL.Image")


def images(count: int, channels: int = 3) -> ImageData:
    pixels = torch.randint(
        256, (count, channels, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(count)
    )
    return ImageData("noise", pixels, torch.arange(count) % 3, tuple("abc"), "made up")


@pytest.fixture
def folder(tmp_path) -> Path:
    return data.write_image_folder(images(9), images(6), tmp_path / "set")


def test_what_is_written_is_read_again(folder):
    train, test = image_folder.read(folder)
    assert (len(train), len(test), train.classes) == (9, 6, ("0", "1", "2"))
    order = torch.arange(9).view(3, 3).T.flatten()
    assert torch.equal(train.labels, images(9).labels[order])
    assert torch.equal(train.in_memory(12, 3).images, images(9).images[order])


def test_grey_files_stay_what_they_are(tmp_path):
    train, _ = image_folder.read(data.write_image_folder(images(3, channels=1), images(3, channels=1), tmp_path))
    assert torch.equal(train.in_memory(12, 1).images, images(3, channels=1).images)
    assert train.cropped(torch.tensor([1]), CentreCrop(4)).shape == (1, 3, 4, 4)


def test_the_whole_image_uncropped_is_its_pixels(folder):
    train, _ = image_folder.read(folder)
    order = torch.arange(9).view(3, 3).T.flatten()
    chosen = torch.tensor([4, 0])
    assert torch.equal(train.cropped(chosen, CentreCrop(12, share=1.0)), images(9).images[order][chosen])


def test_boxes_are_cut_and_mirrored(folder):
    class Known(RandomResizedCrop):
        def boxes(self, sizes):
            assert sizes.tolist() == [[12, 12]] * 2
            return type(super().boxes(sizes))(torch.tensor([[2.0, 1.0, 6.0, 5.0]] * 2), torch.tensor([False, True]))

    train, _ = image_folder.read(folder)
    plain, mirrored = train.cropped(torch.tensor([0, 0]), Known(4))
    assert torch.equal(plain, images(9).images[0, :, 1:5, 2:6])
    assert torch.equal(mirrored, plain.flip(-1))


def test_files_and_memory_are_scaled_alike(folder):
    train, _ = image_folder.read(folder)
    chosen = torch.arange(9)
    files, memory = train.cropped(chosen, CentreCrop(6)), CentreCrop(6)(train.in_memory(12, 3).images)
    # Pillow cuts fractions of a pixel, the other whole pixels.
    assert float((files.float() - memory.float()).abs().mean()) < 12


@pytest.mark.parametrize("workers", [0, 1])
def test_loaders_give_batches_that_follow_from_the_seed(folder, workers):
    train, _ = image_folder.read(folder)
    unit = Normalisation((0.0,) * 3, (1.0,) * 3)
    epochs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        loader = data.train_loader(
            train, torch.arange(9), unit, batch_size=4, augmentation=RandomResizedCrop(5), workers=workers
        )
        epochs.append(torch.cat([batch for batch, _ in loader]))
    assert epochs[0].shape == (9, 3, 5, 5)
    assert torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], epochs[2])


def test_image_files_need_a_crop(folder):
    train, _ = image_folder.read(folder)
    with pytest.raises(DataError, match="a crop is needed, not None"):
        data.evaluation_loader(train, torch.arange(2), Normalisation((0.0,) * 3, (1.0,) * 3))


def test_a_damaged_file_is_named_when_it_is_needed(folder):
    path = sorted((folder / "train" / "1").iterdir())[0]
    path.write_bytes(path.read_bytes()[:60])
    train, _ = image_folder.read(folder)
    train.cropped(torch.tensor([0]), CentreCrop(4))
    with pytest.raises(DataError, match=rf"{path.name} cannot be decoded.*Replace the file"):
        train.cropped(torch.tensor([3]), CentreCrop(4))


def test_a_missing_part_is_told_with_what_is_there(folder):
    (folder / "val").rename(folder / "valid")
    with pytest.raises(DataError, match=r"no folder val; found: train/, valid/\..*rename or link"):
        image_folder.read(folder)


def test_classes_that_differ_are_named(folder):
    (folder / "val" / "2").rename(folder / "val" / "two")
    with pytest.raises(DataError, match="has 2 in train only and two in val only"):
        image_folder.read(folder)


def test_a_class_without_images_is_named(folder):
    for path in (folder / "train" / "0").iterdir():
        path.rename(path.with_suffix(".txt"))
    with pytest.raises(
        DataError, match=r"train/0 holds no image; found: 000000\.txt, 000003\.txt, 000006\.txt\. Known"
    ):
        image_folder.read(folder)


def test_images_without_class_folders(folder, tmp_path):
    (tmp_path / "flat" / "train").mkdir(parents=True)
    (tmp_path / "flat" / "val").mkdir()
    (tmp_path / "flat" / "train" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"no folder per class; found: a\.png"):
        image_folder.read(tmp_path / "flat")


def test_without_pillow_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'offramp\[images\]'"):
        image_folder.read(folder)
