"""Data sets of Hugging Face: one that is saved on disk, and the messages where there is none."""

from __future__ import annotations

import sys

import pytest
import torch

from offramp import data
from offramp.data.layouts import hub
from offramp.errors import DataError, MissingExtraError

pytest.importorskip("PIL.Image")


@pytest.fixture
def library(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return pytest.importorskip("datasets")


@pytest.fixture
def saved(library, tmp_path):
    """Six images in train and three in test, of three classes, with the label in the red channel."""
    from PIL import Image

    kinds = library.Features({"img": library.Image(), "label": library.ClassLabel(names=["a", "b", "c"])})
    parts = {}
    for name, count in (("train", 6), ("test", 3)):
        pictures = [Image.new("RGB", (10, 8), (100 * (i % 3), 7, 9)) for i in range(count)]
        rows = {"img": pictures, "label": [i % 3 for i in range(count)]}
        parts[name] = library.Dataset.from_dict(rows, features=kinds)
    library.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


def test_a_saved_set_is_opened_by_its_folder(saved):
    opened = data.open_data(saved, image_size=4)
    assert (opened.layout, opened.kind, opened.shape) == ("Hugging Face data set", "imagenet", (3, 4, 4))
    assert opened.classes == ("a", "b", "c")
    splits = opened.divide(validation=0)
    batches = opened.loader("test", splits, opened.normalisation(splits), workers=1)
    ((pixels, labels),) = list(batches)
    red = (pixels[:, 0] * 0.229 + 0.485) * 255
    torch.testing.assert_close(red, (100.0 * labels)[:, None, None].expand(3, 4, 4), atol=0.01, rtol=0)


def test_for_small_networks_it_is_read_into_memory(saved):
    opened = data.open_data(saved, kind="cifar")
    assert opened.shape == (3, 32, 32)
    assert opened.train.images[:, 1].unique().tolist() == [7]


def test_columns_and_parts_that_lack_are_told(library, saved, tmp_path):
    whole = library.load_from_disk(str(saved))
    library.DatasetDict({"train": whole["train"]}).save_to_disk(tmp_path / "one")
    with pytest.raises(DataError, match=r"has the parts \['train'\]; needed are train and one of test"):
        data.open_data(tmp_path / "one")
    whole.remove_columns("label").save_to_disk(tmp_path / "unlabelled")
    with pytest.raises(DataError, match=r"has the columns img: Image; needed are .*ClassLabel"):
        data.open_data(tmp_path / "unlabelled")


def test_a_damaged_set_is_told(saved):
    for path in saved.rglob("*.arrow"):
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match="cannot be read as a saved data set"):
        data.open_data(saved)


def test_a_name_that_cannot_be_had(library, monkeypatch):
    def load_dataset(path, name):
        raise FileNotFoundError(f"Couldn't find {path} with {name}\nand more")

    monkeypatch.setattr(library, "load_dataset", load_dataset)
    with pytest.raises(
        DataError, match=r"hf:nobody/nothing:plain cannot .*Couldn't find nobody/nothing with plain\)\. Ch"
    ):
        data.open_data("hf:nobody/nothing:plain")


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'offramp\[hub\]'"):
        hub.fetch("cifar10")
