from __future__ import annotations

import sys

import pytest
import torch

from offramp.data import digit_pairs
from offramp.errors import DataError, MissingExtraError


def test_the_same_arguments_give_the_same_pairs():
    pytest.importorskip("sklearn")
    first, again, other = (digit_pairs.draw("train", 20, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    assert first.images.shape == (20, 1, 10, 20)


def test_pools_share_no_digit_and_hold_them_all():
    datasets = pytest.importorskip("sklearn.datasets")
    pools = [digit_pairs._pool(name)[0].flatten(1) for name in ("train", "validation", "test")]
    everything = torch.as_tensor(datasets.load_digits().data, dtype=torch.float32) / 16
    found = torch.cat(pools)
    assert torch.equal(found.unique(dim=0), everything.unique(dim=0))
    assert len(found) == len(everything)


def test_each_half_shows_the_digit_of_its_label():
    pytest.importorskip("sklearn")
    digits, labels = digit_pairs._pool("validation")
    pairs = digit_pairs.draw("validation", 30, noise=0.0, jitter=0)
    known = {(digits[k] * 255).round().to(torch.uint8).numpy().tobytes(): int(labels[k]) for k in range(len(labels))}
    for image, label in zip(pairs.images, pairs.labels.tolist(), strict=True):
        halves = [known[image[..., :8].numpy().tobytes()], known[image[..., 8:].numpy().tobytes()]]
        assert 10 * halves[0] + halves[1] == label


def test_jitter_moves_a_digit_and_loses_nothing_of_it():
    pytest.importorskip("sklearn")
    digits = digit_pairs._pool("test")[0][:40]
    placed = digit_pairs._placed(digits, 3, torch.Generator().manual_seed(0))
    assert placed.shape == (40, 1, 11, 11)
    torch.testing.assert_close(placed.sum((1, 2, 3)), digits.sum((1, 2, 3)))
    corners = {tuple(image[0].nonzero().min(dim=0).values.tolist()) for image in placed}
    assert len(corners) > 4


def test_all_hundred_classes_occur():
    pytest.importorskip("sklearn")
    assert digit_pairs.load()[0].labels.unique().tolist() == list(range(100))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"pool": "tset"}, "pools are train, validation, test"),
        ({"pairs": 0}, "at least 1"),
        ({"jitter": -1}, "0 or more"),
    ],
)
def test_impossible_draws_are_refused(arguments, said):
    with pytest.raises(DataError, match=said):
        digit_pairs.draw(**{"pool": "test", "pairs": 1, **arguments})


def test_a_missing_scikit_learn_is_answered_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'offramp\[data\]'"):
        digit_pairs.draw("train", 1)
