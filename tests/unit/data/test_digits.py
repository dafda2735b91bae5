from __future__ import annotations

import sys

import pytest
import torch

from offramp.data import digits
from offramp.errors import MissingExtraError

pytest.importorskip("sklearn")


def test_the_parts_are_disjoint_complete_and_stratified():
    train, test = digits.load()
    assert (len(train), len(test)) == (1438, 359)
    share = test.labels.bincount() / (train.labels.bincount() + test.labels.bincount())
    torch.testing.assert_close(share, torch.full((10,), 0.2), atol=0.005, rtol=0)


def test_images_are_full_range_bytes_of_the_size_of_fashion_mnist():
    train, test = digits.load()
    assert train.images.shape[1:] == test.images.shape[1:] == (1, 28, 28)
    assert (int(train.images.min()), int(train.images.max())) == (0, 255)


def test_enlarging_keeps_each_pixel_in_its_place():
    for row, column in ((0, 0), (1, 6), (7, 3)):
        values = torch.zeros(1, 1, 8, 8)
        values[0, 0, row, column] = 16
        brightest = int(digits._enlarged(values).argmax())
        assert (brightest // 28 * 8 // 28, brightest % 28 * 8 // 28) == (row, column)
    assert torch.equal(digits._enlarged(torch.full((1, 1, 8, 8), 4.0)).unique(), torch.tensor([64], dtype=torch.uint8))


def test_the_digits_are_the_same_every_time():
    assert torch.equal(digits.load()[1].images, digits.load()[1].images)


def test_a_missing_scikit_learn_is_answered_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'offramp\[data\]'"):
        digits.load()
