"""Samples read from data of every form, and the choice of those that are timed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import offramp as ofr
from offramp import samples as module
from offramp.errors import InputError
from offramp.samples import Samples, representative, timed_rows


@pytest.fixture(scope="module")
def mlp(tiny_mlp):
    return tiny_mlp.attach()


@pytest.fixture(scope="module")
def pair(tiny_pair):
    return tiny_pair.attach()


LABELS = torch.arange(7) % 4


def test_an_input_with_and_without_labels(mlp, tiny_mlp):
    x = tiny_mlp.batch(7)
    assert Samples.of(mlp, x).labels is None
    assert torch.equal(Samples.of(mlp, (x, LABELS)).labels, LABELS)
    assert torch.equal(Samples.of(mlp, x).take(torch.tensor([3, 1])), x[[3, 1]])


def test_a_tuple_of_two_inputs_is_no_input_with_labels(pair, tiny_pair):
    image, vector = tiny_pair.batch(7)
    bare = Samples.of(pair, (image, vector))
    assert bare.labels is None
    labelled = Samples.of(pair, (image, vector, LABELS))
    assert torch.equal(labelled.labels, LABELS)
    index = torch.tensor([6, 0])
    for found in (bare, labelled):
        taken = found.take(index)
        assert torch.equal(taken[0], image[index])
        assert torch.equal(taken[1], vector[index])


def test_named_inputs(tiny_pair):
    batch = dict(zip(("image", "vector"), tiny_pair.batch(7), strict=True))
    model = ofr.attach(tiny_pair.make(), at=["mix"], example=batch)
    found = Samples.of(model, {**batch, "labels": LABELS})
    assert torch.equal(found.labels, LABELS)
    index = torch.tensor([2, 2, 5])
    assert all(torch.equal(found.take(index)[name], batch[name][index]) for name in batch)


def test_a_loader_is_read_in_order(mlp, tiny_mlp):
    x = tiny_mlp.batch(7)
    found = Samples.of(mlp, [(x[:4], LABELS[:4]), [x[4:], LABELS[4:]]])
    assert len(found) == 7
    assert torch.equal(found.take(torch.arange(7)), x)
    assert torch.equal(found.labels, LABELS)
    assert [len(batch) for batch in found.batches(3)] == [3, 3, 1]


def test_reading_ends_where_memory_would(mlp, tiny_mlp, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 2 * 4 * 5 * 4)
    assert len(Samples.of(mlp, [tiny_mlp.batch(4)] * 10)) == 8


def test_what_is_recorded_is_what_the_model_gives(mlp, tiny_mlp):
    x = tiny_mlp.batch(7)
    recording = Samples.of(mlp, (x, LABELS)).record(mlp, rows=3)
    with torch.no_grad():
        torch.testing.assert_close(recording.logits, torch.stack(mlp(x)))
    assert torch.equal(recording.labels, LABELS)
    assert recording.macs == mlp.cost.macs


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "no sample"),
        (torch.zeros(0, 5), "empty"),
        (3, "data=3"),
        ([(torch.zeros(2, 5), torch.zeros(2)), torch.zeros(2, 5)], "1 of 2 batches have labels"),
        ([torch.zeros(2, 5), torch.zeros(2, 6)], "same shape"),
        ((torch.zeros(2, 5), torch.zeros(2), torch.zeros(2)), "The inputs are"),
    ],
)
def test_data_that_cannot_be_read(mlp, data, message):
    with pytest.raises(InputError, match=message):
        Samples.of(mlp, data)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 200), st.integers(0, 10))
def test_timed_samples_leave_like_all(exits, count, seed):
    taken = torch.tensor(exits)
    rows = representative(taken, count, 4, seed)
    assert len(rows) == count
    exact = torch.bincount(taken, minlength=4).double() * count / len(exits)
    counts = torch.bincount(taken[rows], minlength=4)
    assert bool(((counts - exact).abs() < 1).all())
    assert torch.equal(rows, representative(taken, count, 4, seed))
    if count <= len(exits):
        assert len(set(rows.tolist())) == count


@pytest.mark.parametrize(("batch", "least", "batches"), [(1, 64, 64), (48, 64, 2), (256, 64, 1), (8, 1, 1)])
def test_batches_are_full(batch, least, batches):
    parts = timed_rows(torch.arange(100) % 3, batch, least, 3, seed=0)
    assert [len(part) for part in parts] == [batch] * batches
