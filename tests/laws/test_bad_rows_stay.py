"""A row whose logits are NaN or infinite never leaves early, and disturbs nobody else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import offramp as ofr
from offramp.criteria import Entropy, Margin, MaxProbability

POLICIES = {
    "max_probability": ofr.Policy(MaxProbability(), [-float("inf")] * 2),
    "entropy": ofr.Policy(Entropy(), [-float("inf")] * 2),
    "margin": ofr.Policy(Margin(), [-float("inf")] * 2),
    "always": ofr.always(0),
}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", POLICIES)
@given(rows=st.integers(1, 20), seed=st.integers(0, 10**6), data=st.data())
def test_a_bad_input_goes_on_to_the_last_exit(tiny_mlp, name, bad, rows, seed, data):
    model = tiny_mlp.attach()
    inputs = tiny_mlp.batch(rows, seed)
    hit = data.draw(st.integers(0, rows - 1))
    inputs[hit] = bad
    taken = ofr.deploy(model, POLICIES[name])(inputs)
    # One stage of ReLUs may turn an infinite input into finite logits: what counts is what the exits say.
    with torch.no_grad():
        usable = [bool(logits[hit].isfinite().all()) for logits in model(inputs)]
    expected = usable.index(True) if True in usable[:2] else 2
    assert taken.exits[hit] == expected
    if bad != bad:
        assert expected == 2


@given(seed=st.integers(0, 10**6), hit=st.integers(0, 14))
def test_nobody_else_is_disturbed(tiny_resnet, record_on, seed, hit):
    model = tiny_resnet.attach()
    inputs = tiny_resnet.batch(15, seed)
    recording = record_on(model, inputs)
    criterion = MaxProbability()
    policy = ofr.Policy(criterion, [float(criterion.score(logits).median()) for logits in recording.logits[:-1]])
    runtime = ofr.deploy(model, policy)
    before = runtime(inputs)
    spoiled = inputs.clone()
    spoiled[hit, 0, 3, 3] = float("nan")
    after = runtime(spoiled)
    others = torch.arange(15) != hit
    assert after.exits[hit] == 3
    assert bool(after.logits[hit].isnan().any())
    assert torch.equal(after.exits[others], before.exits[others])
    torch.testing.assert_close(after.logits[others], before.logits[others], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", POLICIES)
def test_no_threshold_lets_such_logits_leave(name, value):
    logits = torch.zeros(3, 4)
    logits[1, 2] = value
    assert POLICIES[name].leaves(0, -float("inf"), logits).tolist() == [True, False, True]
