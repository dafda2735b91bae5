"""Exits before training: thresholds with which given shares leave."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import offramp as ofr
from offramp.errors import VerdictError
from offramp.verdicts.planning import planned, random_samples, with_rates


@given(
    st.integers(2, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, 100))),
    st.lists(st.floats(0, 1), min_size=2, max_size=2),
)
def test_as_many_leave_as_were_asked_to(size, rates):
    rows, seed = size
    logits = torch.randn(3, rows, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    recording = ofr.Recording(logits, None, [1, 2, 3])
    policy, shares = with_rates(recording, rates)
    first = round(rates[0] * rows)
    second = round(rates[1] * (rows - first))
    assert torch.bincount(ofr.simulate(recording, policy).exits, minlength=3).tolist() == [
        first,
        second,
        rows - first - second,
    ]
    assert shares == pytest.approx((first / rows, second / rows, 1 - (first + second) / rows))


def test_the_real_runtime_lets_them_leave_too(tiny):
    model = tiny.attach()
    made = planned(model, [0.5] * (model.exits - 1), rows=32)
    assert made.shares[0] == 0.5
    assert ofr.deploy(model, made.policy)(made.inputs).shares.tolist() == pytest.approx(made.shares)


def test_inputs_are_of_the_example_s_kind(tiny):
    model = tiny.attach()
    made = random_samples(model.signature, 6, seed=1)
    again = random_samples(model.signature, 6, seed=1)
    for leaf, known, same in zip(made.leaves, model.signature.leaves, again.leaves, strict=True):
        assert leaf.dtype == known.dtype
        assert leaf.shape == (6, *known.shape[1:])
        assert torch.equal(leaf, same)
        if not leaf.is_floating_point():
            assert set(leaf.flatten().tolist()) <= set(known.flatten().tolist())


@pytest.mark.parametrize("rates", [[0.5], [0.5, 1.5], [0.5, -0.1], [0.5, float("nan")]])
def test_impossible_rates(tiny_mlp, rates):
    with pytest.raises(VerdictError, match="one share between 0 and 1 per early exit"):
        planned(tiny_mlp.attach(), rates)


def test_scores_that_are_alike():
    recording = ofr.Recording(torch.zeros(2, 4, 3), None, [1, 2])
    with pytest.raises(VerdictError, match="too many have the same score"):
        with_rates(recording, [0.5])
