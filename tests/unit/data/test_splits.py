from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from offramp.data import reduced, split
from offramp.errors import DataError

PARTS = ("train", "validation", "calibration")


@st.composite
def divisions(draw):
    """Labels in random order, and sizes that fit them."""
    counts = draw(st.lists(st.integers(min_value=0, max_value=40), min_size=1, max_size=6).filter(any))
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    total = len(labels)
    validation = draw(st.integers(min_value=0, max_value=total - 1))
    calibration = draw(st.integers(min_value=0, max_value=total - 1 - validation))
    order = torch.randperm(total, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    return labels[order], validation, calibration, draw(st.integers(0, 2**32))


@given(divisions())
def test_the_splits_are_disjoint_complete_and_of_the_sizes_asked_for(division):
    labels, validation, calibration, seed = division
    parts = split(labels, validation=validation, calibration=calibration, seed=seed)
    assert (len(parts.validation), len(parts.calibration)) == (validation, calibration)
    everything = torch.cat([parts.train, parts.validation, parts.calibration])
    assert torch.equal(everything.sort().values, torch.arange(len(labels)))


@given(divisions())
def test_each_class_has_its_share_in_each_split(division):
    labels, validation, calibration, seed = division
    parts = split(labels, validation=validation, calibration=calibration, seed=seed)
    classes = int(labels.max()) + 1
    whole = labels.bincount(minlength=classes) / len(labels)
    for name, tolerance in (("validation", 1.0), ("calibration", 2.0), ("train", 2.0)):
        indices = getattr(parts, name)
        excess = labels[indices].bincount(minlength=classes) - whole * len(indices)
        # Rounding once moves a count by less than 1; what is drawn second is rounded from a rounded rest.
        assert float(excess.abs().max()) < tolerance + 1e-4, name


@given(divisions())
def test_the_seed_alone_decides(division):
    labels, validation, calibration, seed = division
    first = split(labels, validation=validation, calibration=calibration, seed=seed)
    torch.rand(3)
    again = split(labels, validation=validation, calibration=calibration, seed=seed)
    assert first.record() == again.record()
    assert all(torch.equal(getattr(first, name), getattr(again, name)) for name in PARTS)


def test_torchs_own_random_state_is_left_alone():
    before = torch.get_rng_state()
    split(torch.arange(50) % 5, validation=10, calibration=10)
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_draws_another_division():
    labels = torch.arange(1000) % 10
    first, second = (split(labels, validation=100, calibration=100, seed=seed) for seed in (0, 1))
    assert first.record()["sha256"] != second.record()["sha256"]
    common = len(set(first.validation.tolist()) & set(second.validation.tolist()))
    assert common < 30  # 10 are expected by chance


def test_a_known_division_stays_what_it_was():
    # A change here makes recorded results impossible to reproduce.
    parts = split(torch.arange(20) % 2, validation=4, calibration=4, seed=0)
    assert parts.validation.tolist() == [2, 7, 8, 19]
    assert parts.calibration.tolist() == [5, 9, 10, 14]


def test_shares_are_of_the_whole_training_part():
    sizes = split(torch.arange(200) % 10, validation=0.1, calibration=0.25).record()["sizes"]
    assert sizes == {"train": 130, "validation": 20, "calibration": 50, "test": 0}


def test_a_train_size_leaves_the_rest_unused():
    parts = split(torch.arange(100) % 4, validation=10, calibration=10, train=40)
    assert len(parts.train) == 40
    assert torch.cat([parts.train, parts.validation, parts.calibration]).unique().numel() == 60


def test_the_record_is_json_and_names_seed_and_sizes():
    record = json.loads(json.dumps(split(torch.arange(60) % 3, validation=6, calibration=9, test=7, seed=5).record()))
    assert record["seed"] == 5
    assert record["stratified"] is True
    assert record["sizes"] == {"train": 45, "validation": 6, "calibration": 9, "test": 7}


def test_test_is_the_whole_test_part_in_order():
    assert split(torch.zeros(5, dtype=torch.int64), validation=1, calibration=1, test=4).test.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"validation": 60, "calibration": 40}, "Nothing is left to train on: validation 60, calibration 40, train 0"),
        ({"validation": 10, "calibration": 10, "train": 81}, "more than the 100 samples .* train 81"),
        ({"validation": 0.6, "calibration": 0.6, "train": 1}, "more than the 100 samples"),
        ({"validation": -1, "calibration": 10}, r"validation=-1: give a count"),
        ({"validation": 1, "calibration": 1.0}, r"calibration=1\.0: .*share in \[0\.0, 1\.0\)"),
        ({"validation": float("nan"), "calibration": 1}, r"validation=nan"),
        ({"validation": True, "calibration": 1}, r"validation=True"),
        ({"validation": 1, "calibration": 1, "train": 0}, "Nothing is left to train on"),
    ],
)
def test_impossible_sizes_are_refused_with_their_values(sizes, message):
    with pytest.raises(DataError, match=message):
        split(torch.arange(100) % 10, **sizes)


def test_an_empty_training_part_is_refused():
    with pytest.raises(DataError, match="of 0 samples"):
        split(torch.empty(0, dtype=torch.int64), validation=0, calibration=0)


def test_a_share_of_a_split_keeps_its_classes_in_proportion():
    labels = torch.arange(200) % 4
    whole = split(labels, validation=40, calibration=20, test=80, seed=5)
    less = reduced(whole, labels, labels[:80], train=0.5, calibration=0.2, test=0.1)
    assert less.record()["sizes"] == {"train": 70, "validation": 40, "calibration": 4, "test": 8}
    assert torch.equal(less.validation, whole.validation)
    assert labels[less.test].bincount().tolist() == [2, 2, 2, 2]
    assert set(less.train.tolist()) <= set(whole.train.tolist())
    assert torch.equal(less.train, reduced(whole, labels, labels[:80], train=0.5).train)


def test_a_share_keeps_one_sample_at_least_and_nothing_of_nothing():
    labels = torch.arange(20) % 2
    whole = split(labels, validation=0, calibration=4)
    assert reduced(whole, labels, labels[:0], calibration=0.01, validation=0.5).record()["sizes"] == {
        "train": 16,
        "validation": 0,
        "calibration": 1,
        "test": 0,
    }


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_an_impossible_share_is_told(share):
    labels = torch.arange(20) % 2
    with pytest.raises(DataError, match=rf"train={share}: give the share of the train split"):
        reduced(split(labels, validation=4, calibration=4), labels, labels[:0], train=share)
