"""Segments, one after the other, decide as the model itself does: for every carry, policy and batch size."""

from __future__ import annotations

import pytest
import torch

import offramp as ofr
from offramp.segments import Plan, segments_of

INF = float("inf")


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("closed", [None, 0])
def test_staged_and_eager_agree(tiny, rows, closed):
    model = tiny.attach()
    inputs = tiny.batch(rows)
    with torch.no_grad():
        scores = [ofr.criteria.Margin().score(logits).median().item() for logits in model(inputs)]
    thresholds = [INF if k == closed else s for k, s in enumerate(scores[:-1])]
    runtime = ofr.deploy(model, ofr.Policy(ofr.criteria.Margin(), thresholds))
    expected, got = runtime(inputs), runtime.staged()(inputs)
    assert torch.equal(got.exits, expected.exits)
    torch.testing.assert_close(got.logits, expected.logits)
    assert torch.equal(got.macs, expected.macs)


def test_an_exit_that_is_closed_ends_no_segment(tiny_resnet):
    model = tiny_resnet.attach()
    plan = Plan.of(model.eval(), ofr.Policy(ofr.criteria.Margin(), [INF, 0.2, INF]))
    segments = segments_of(model, plan)
    assert plan.stops == (1, 3)
    assert [len(s.stages) for s in segments] == [2, 2]


def test_a_plan_survives_json(tiny_resnet):
    model = tiny_resnet.attach()
    plan = Plan.of(model.eval(), ofr.Policy(ofr.criteria.Margin(), [INF, 0.2, -INF]))
    again = Plan.from_dict(plan.to_dict())
    assert (again.policy, again.stops, again.thresholds) == (plan.policy, plan.stops, plan.thresholds)
    assert torch.equal(again.costs, plan.costs)
