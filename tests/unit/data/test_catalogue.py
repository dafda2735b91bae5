from __future__ import annotations

import sys

import pytest

from offramp.data import fashion_mnist, load
from offramp.errors import DataError


def test_fashion_mnist_is_the_default(tiny_files):
    train, _ = load(folder=tiny_files)
    assert (train.name, len(train), train.notice) == ("fashion-mnist", 20, "")


def test_digits_stand_in_and_say_so(bare_machine):
    pytest.importorskip("sklearn")
    for part in load(download=False):
        assert part.name == "digits"
        assert "digits stand in for fashion-mnist" in part.notice
        assert "not found in" in part.notice


def test_digits_asked_for_need_no_notice():
    pytest.importorskip("sklearn")
    assert load("digits")[0].notice == ""


def test_without_leave_to_fall_back_a_missing_set_is_an_error(bare_machine):
    with pytest.raises(fashion_mnist.NotFoundError, match="Fashion-MNIST was not found in"):
        load(download=False, fallback=False)


def test_a_damaged_file_is_not_covered_up_by_the_fallback(tiny_files):
    (tiny_files / "train-labels-idx1-ubyte.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(DataError, match="truncated"):
        load(folder=tiny_files, fallback=True)


def test_with_neither_set_both_reasons_are_given(bare_machine, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match=r"Fashion-MNIST was not found.*pip install 'offramp\[data\]'"):
        load(download=False)


def test_an_unknown_set_is_answered_with_the_closest():
    with pytest.raises(DataError, match=r"no data set 'fashion_mnist'\. Closest: 'fashion-mnist'"):
        load("fashion_mnist")
