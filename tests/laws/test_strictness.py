"""Law 4: the strictest threshold reproduces the plain model, and a stricter one never lets a sample leave earlier."""

from __future__ import annotations

from dataclasses import replace

import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import offramp as ofr
from offramp.criteria import Entropy, GeometricEnsemble, Margin, MaxProbability

INF = float("inf")


def plainly(model: ofr.ExitModel, inputs: object) -> torch.Tensor:
    args, kwargs = ofr.backbones.arguments(inputs)
    with torch.no_grad():
        return model.backbone(*args, **kwargs)


@given(
    criterion=st.sampled_from([MaxProbability(), Entropy(), Margin()]),
    rows=st.integers(1, 30),
    seed=st.integers(0, 10**6),
)
def test_the_strictest_policy_reproduces_the_plain_model(tiny, attached, criterion, rows, seed):
    inputs = tiny.batch(rows, seed)
    policy = ofr.Policy(criterion, [INF] * (attached.exits - 1))
    taken = ofr.deploy(attached, policy)(inputs)
    torch.testing.assert_close(taken.logits, plainly(attached, inputs), rtol=0, atol=1e-6)
    assert taken.exits.tolist() == [attached.exits - 1] * rows
    assert taken.macs.tolist() == [attached.cost.plain] * rows


@given(rows=st.integers(1, 30), seed=st.integers(0, 10**6))
def test_the_strictest_ensemble_answers_with_all_exits(tiny, attached, rows, seed):
    inputs = tiny.batch(rows, seed)
    taken = ofr.deploy(attached, ofr.Policy(GeometricEnsemble(), [INF] * (attached.exits - 1)))(inputs)
    with torch.no_grad():
        expected = torch.stack([logits.log_softmax(1) for logits in attached(inputs)]).mean(0).softmax(1)
    torch.testing.assert_close(taken.logits.softmax(1), expected, rtol=1e-4, atol=1e-5)
    assert taken.exits.tolist() == [attached.exits - 1] * rows
    assert taken.macs.tolist() == [attached.cost.macs[-1]] * rows


@given(rows=st.integers(1, 30), seed=st.integers(0, 10**6), data=st.data())
def test_always_takes_one_exit_and_gives_its_logits(tiny, attached, rows, seed, data):
    inputs = tiny.batch(rows, seed)
    exit = data.draw(st.integers(0, attached.exits - 1))
    taken = ofr.deploy(attached, ofr.always(exit))(inputs)
    with torch.no_grad():
        expected = attached(inputs)[exit]
    torch.testing.assert_close(taken.logits, expected, rtol=1e-5, atol=1e-6)
    assert taken.exits.tolist() == [exit] * rows


def tightened(policy: ofr.Policy, steps: list[float]) -> ofr.Policy:
    """Each threshold raised by its step; an infinite step closes the exit."""
    raised = [INF if step == INF else t + step for t, step in zip(policy.thresholds, steps, strict=True)]
    return replace(policy, thresholds=tuple(raised))


@given(data=st.data(), seed=st.integers(0, 10**6))
def test_a_stricter_threshold_never_lets_a_sample_leave_earlier(
    tiny, attached, any_policy, record_on, far_from_thresholds, data, seed
):
    inputs = tiny.batch(24, seed)
    recording = record_on(attached, inputs)
    loose = data.draw(any_policy(recording).filter(lambda p: len(p.thresholds)))
    steps = st.just(0.0) | st.floats(0, 0.3) | st.just(INF)
    strict = tightened(loose, [data.draw(steps) for _ in loose.thresholds])
    before = ofr.deploy(attached, loose)(inputs).exits
    after = ofr.deploy(attached, strict)(inputs).exits
    # Other rows leave under the two policies, which moves scores by a rounding error.
    clear = far_from_thresholds(recording, loose) & far_from_thresholds(recording, strict)
    assume(int(clear.sum()) >= 20)
    assert bool((after >= before)[clear].all())


@given(data=st.data(), seed=st.integers(0, 10**6))
def test_the_same_holds_offline_row_by_row(attached, any_policy, data, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(attached.exits, 50, 4, generator=generator)
    recording = ofr.Recording(logits, None, range(1, attached.exits + 1))
    loose = data.draw(any_policy(recording).filter(lambda p: len(p.thresholds)))
    strict = tightened(loose, [data.draw(st.floats(0, 1)) for _ in loose.thresholds])
    assert bool((ofr.simulate(recording, strict).exits >= ofr.simulate(recording, loose).exits).all())
