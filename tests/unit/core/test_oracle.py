"""The label oracle bounds every policy that answers with the exits' own logits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import offramp as ofr
from offramp.errors import RecordingError
from offramp.oracle import oracle


def test_first_exit_that_is_right_or_the_first_of_all():
    right, wrong = [0.0, 1.0], [1.0, 0.0]
    recording = ofr.Recording(
        [[wrong, wrong, right], [right, wrong, wrong], [right, wrong, right]], [1, 1, 1], [1, 2, 4]
    )
    decided = oracle(recording)
    assert decided.exits.tolist() == [1, 0, 0]
    assert decided.macs.tolist() == [2.0, 1.0, 1.0]


@given(seed=st.integers(0, 10**6), thresholds=st.lists(st.floats(0, 1), min_size=2, max_size=2))
def test_no_policy_is_right_more_often(seed, thresholds):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (80,), generator=generator)
    recording = ofr.Recording(torch.randn(3, 80, 3, generator=generator), labels, [1, 2, 4])
    taken = ofr.simulate(recording, ofr.Policy(ofr.criteria.Margin(), thresholds))
    best = oracle(recording)
    assert best.accuracy(labels) >= taken.accuracy(labels)
    right = taken.predictions == labels
    assert bool((best.macs[right] <= taken.macs[right]).all())


def test_it_needs_labels():
    with pytest.raises(RecordingError, match="needs labels"):
        oracle(ofr.Recording(torch.zeros(2, 3, 2), None, [1, 2]))
