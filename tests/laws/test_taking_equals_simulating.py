"""Law 1: taking exits gives what simulating them gives, for any policy, batch size and batch order."""

from __future__ import annotations

import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.utils import _pytree as pytree

import offramp as ofr

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def assert_same(taken: ofr.Decisions, simulated: ofr.Decisions, clear: torch.Tensor) -> None:
    """Rows with a score at its threshold are left out; cases where that is more than a row or two do not count."""
    assume(int(clear.sum()) >= len(clear) - 2)
    assert torch.equal(taken.exits[clear], simulated.exits[clear])
    assert torch.equal(taken.macs[clear], simulated.macs[clear])
    torch.testing.assert_close(taken.logits[clear], simulated.logits[clear], **CLOSE)
    assert taken.exit_count == simulated.exit_count
    if simulated.levels is not None:
        assert torch.equal(taken.levels[clear], simulated.levels[clear])


@given(data=st.data(), rows=st.integers(2, 40), seed=st.integers(0, 10**6))
def test_taking_exits_equals_simulating_them(
    tiny, attached, any_policy, record_on, far_from_thresholds, data, rows, seed
):
    inputs = tiny.batch(rows, seed)
    recording = record_on(attached, inputs)
    policy = data.draw(any_policy(recording))
    taken = ofr.deploy(attached, policy)(inputs)
    assert_same(taken, ofr.simulate(recording, policy), far_from_thresholds(recording, policy))


@given(data=st.data(), seed=st.integers(0, 10**6))
def test_a_row_alone_takes_the_exit_it_takes_in_a_batch(
    tiny, attached, any_policy, record_on, far_from_thresholds, data, seed
):
    inputs = tiny.batch(9, seed)
    recording = record_on(attached, inputs)
    policy = data.draw(any_policy(recording))
    runtime = ofr.deploy(attached, policy)
    alone = [runtime(pytree.tree_map(lambda x, i=i: x[i : i + 1], inputs)) for i in range(9)]
    together = ofr.Decisions(
        logits=torch.cat([d.logits for d in alone]),
        exits=torch.cat([d.exits for d in alone]),
        exit_count=attached.exits,
        macs=torch.cat([d.macs for d in alone]),
        levels=None if alone[0].levels is None else torch.cat([d.levels for d in alone]),
    )
    assert_same(together, ofr.simulate(recording, policy), far_from_thresholds(recording, policy))


@given(data=st.data(), seed=st.integers(0, 10**6))
def test_the_order_of_a_batch_does_not_matter(tiny, attached, any_policy, record_on, far_from_thresholds, data, seed):
    inputs = tiny.batch(13, seed)
    recording = record_on(attached, inputs)
    policy = data.draw(any_policy(recording))
    order = torch.tensor(data.draw(st.permutations(range(13))))
    taken = ofr.deploy(attached, policy)(pytree.tree_map(lambda x: x[order], inputs))
    clear = far_from_thresholds(recording, policy)[order]
    assert_same(taken, ofr.simulate(recording.take(order), policy), clear)


def test_recording_then_simulating_equals_taking_on_a_loader(tiny, attached, record_on):
    inputs = [tiny.batch(6, seed) for seed in range(4)]
    labels = torch.arange(6) % attached.num_classes
    if isinstance(inputs[0], dict):
        loader = [{**batch, "labels": labels} for batch in inputs]
    else:
        loader = [(*pytree.tree_leaves(batch), labels) for batch in inputs]
    recording = ofr.record(attached, loader)
    margin = ofr.criteria.Margin()
    policy = ofr.Policy(margin, [float(margin.score(logits).quantile(0.51)) for logits in recording.logits[:-1]])
    taken = [ofr.deploy(attached, policy)(batch) for batch in inputs]
    simulated = ofr.simulate(recording, policy)
    assert simulated.exits.unique().tolist() == list(range(attached.exits))
    assert torch.equal(torch.cat([d.exits for d in taken]), simulated.exits)


def test_earlier_logits_follow_their_rows(tiny_mlp, record_on, soft_agreement):
    """At the second exit the criterion reads the first exit's logits, of just the rows that are still there."""
    model = tiny_mlp.attach()
    inputs = tiny_mlp.batch(60, seed=5)
    recording = record_on(model, inputs)
    first = soft_agreement.score(recording.logits[0])
    second = soft_agreement.score(recording.logits[1], [recording.logits[0]])
    policy = ofr.Policy(soft_agreement, [float(first.median()), float(second.median())])
    expected = torch.where(first > policy.thresholds[0], 0, torch.where(second > policy.thresholds[1], 1, 2))
    taken = ofr.deploy(model, policy)(inputs)
    assert set(expected.tolist()) == {0, 1, 2}
    assert torch.equal(taken.exits, expected)
