from __future__ import annotations

import gzip
import re
import shutil

import pytest
import torch

from offramp.data import fashion_mnist
from offramp.data.fashion_mnist import NotFoundError, find, load
from offramp.errors import DataError


def put(source, target):
    shutil.copytree(source, target)
    return target


def test_both_parts_are_read(tiny_files):
    train, test = load(tiny_files)
    assert train.images.shape == (20, 1, 28, 28)
    assert test.images.shape == (10, 1, 28, 28)
    assert torch.equal(train.labels, torch.arange(20) % 10)
    assert (train.name, train.notice) == ("fashion-mnist", "")
    assert train.provenance == f"Fashion-MNIST, read from {tiny_files}, SHA-256 verified"


def test_places_are_searched_in_the_stated_order(tiny_files, bare_machine, tmp_path, monkeypatch):
    assert find() is None
    installed = put(tiny_files, bare_machine)
    assert find() == installed
    cached = put(tiny_files, tmp_path / "cache" / "offramp" / "fashion-mnist")
    assert find() == cached
    monkeypatch.setenv("OFFRAMP_DATA", str(tmp_path / "mine"))
    below = put(tiny_files, tmp_path / "mine" / "fashion-mnist")
    assert find() == below
    monkeypatch.setenv("OFFRAMP_DATA", str(below))
    assert find() == below
    assert find(tiny_files) == tiny_files


def test_an_incomplete_place_is_passed_over(tiny_files, bare_machine, tmp_path):
    cached = put(tiny_files, tmp_path / "cache" / "offramp" / "fashion-mnist")
    (cached / "t10k-labels-idx1-ubyte.gz").unlink()
    installed = put(tiny_files, bare_machine)
    assert find() == installed


def test_a_folder_given_that_lacks_a_file_is_refused_even_if_the_set_is_elsewhere(tiny_files, bare_machine, tmp_path):
    put(tiny_files, bare_machine)
    lacking = put(tiny_files, tmp_path / "lacking")
    (lacking / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"The folder .*lacking lacks t10k-labels-idx1-ubyte\.gz\. Give the folder"):
        load(lacking)


def test_a_wrong_checksum_names_file_both_digests_and_the_way_out(tiny_files, monkeypatch):
    name = "train-labels-idx1-ubyte.gz"
    true = fashion_mnist.SHA256[name]
    monkeypatch.setitem(fashion_mnist.SHA256, name, "0" * 64)
    with pytest.raises(DataError) as caught:
        load(tiny_files)
    message = str(caught.value)
    assert not isinstance(caught.value, NotFoundError)
    assert all(part in message for part in (str(tiny_files / name), true, "0" * 64, "Delete the file and load again"))


def test_the_checksum_is_of_the_content_whatever_compressed_it(tiny_files):
    file = tiny_files / "train-labels-idx1-ubyte.gz"
    before = file.read_bytes()
    file.write_bytes(gzip.compress(gzip.decompress(before), compresslevel=1, mtime=12345))
    assert file.read_bytes() != before
    assert len(load(tiny_files)[0]) == 20


def test_obtained_files_are_checked_cached_and_found_the_next_time(tiny_files, monkeypatch, tmp_path):
    monkeypatch.setattr(fashion_mnist, "ARCHIVES", (f"{tiny_files.as_uri()}/",))
    train, _ = load()
    cached = tmp_path / "cache" / "offramp" / "fashion-mnist"
    assert train.provenance == f"Fashion-MNIST, read from {cached}, SHA-256 verified"
    monkeypatch.setattr(fashion_mnist, "ARCHIVES", ())
    assert torch.equal(load(download=False)[0].images, train.images)


def test_damaged_files_of_one_archive_are_not_cached_and_the_next_is_tried(tiny_files, monkeypatch, tmp_path):
    damaged = put(tiny_files, tmp_path / "damaged")
    shutil.copy(damaged / "t10k-labels-idx1-ubyte.gz", damaged / "train-labels-idx1-ubyte.gz")
    addresses = (f"{damaged.as_uri()}/", f"{tiny_files.as_uri()}/")
    monkeypatch.setattr(fashion_mnist, "ARCHIVES", addresses[:1])
    with pytest.raises(NotFoundError, match=r"train-labels-idx1-ubyte\.gz is not Fashion-MNIST's"):
        load()
    assert find() is None
    monkeypatch.setattr(fashion_mnist, "ARCHIVES", addresses)
    assert len(load()[0]) == 20


def test_without_leave_to_download_nothing_is_fetched(tiny_files, monkeypatch, tmp_path):
    monkeypatch.setattr(fashion_mnist, "ARCHIVES", (f"{tiny_files.as_uri()}/",))
    with pytest.raises(NotFoundError, match="not tried, because download=False"):
        load(download=False)
    assert not (tmp_path / "cache").exists()


def test_a_set_that_is_nowhere_gives_the_places_the_reasons_and_the_ways(bare_machine, tmp_path, monkeypatch):
    absent = f"{(tmp_path / 'absent').as_uri()}/"
    monkeypatch.setattr(fashion_mnist, "ARCHIVES", (absent,))
    with pytest.raises(NotFoundError) as caught:
        load()
    for expected in (
        f"not found in: {tmp_path}/cache/offramp/fashion-mnist, {bare_machine}",
        "there is no apt-get or dpkg",
        f"{absent}train-images",
        "Install Debian's package dataset-fashion-mnist",
        "set OFFRAMP_DATA",
    ):
        assert re.search(re.escape(expected), str(caught.value))


def test_the_real_set_is_balanced_and_looks_like_clothes():
    if find() is None:
        pytest.skip("Fashion-MNIST is not on this machine")
    train, test = load(download=False)
    assert train.labels.bincount().tolist() == [6000] * 10
    assert test.labels.bincount().tolist() == [1000] * 10
    # Published with the set: mean 0.2860, standard deviation 0.3530 of the training pixels.
    pixels = train.images.float() / 255
    assert float(pixels.mean()) == pytest.approx(0.2860, abs=5e-5)
    assert float(pixels.std()) == pytest.approx(0.3530, abs=5e-5)
    # Trousers leave more of the image empty than pullovers do, which a shifted label file would break.
    shown = [float((train.images[train.labels == label] > 0).float().mean()) for label in (1, 2)]
    assert shown[0] < shown[1]
