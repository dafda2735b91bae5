"""The refusing runtime: who gets a batch, what the decisions say then, and that it is measured."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import offramp as ofr
from offramp.comparison import Ratio
from offramp.errors import InputError, VerdictError
from offramp.runtimes.refusing import RefusingRuntime

FASTER, SLOWER, EITHER = Ratio(0.8, 0.7, 0.9, 21, 0.95), Ratio(1.2, 1.1, 1.3, 21, 0.95), Ratio(1, 0.9, 1.1, 21, 0.95)


@pytest.fixture(scope="module")
def model(tiny_mlp) -> ofr.ExitModel:
    return tiny_mlp.attach()


def refusing(model: ofr.ExitModel, policy: ofr.Policy, ratios: dict[int, Ratio]) -> RefusingRuntime:
    plain = ofr.deploy(model, ofr.always(exit=model.exits - 1))
    return RefusingRuntime(ofr.deploy(model, policy), plain, model.signature, ratios)


@pytest.mark.parametrize(
    ("rows", "refused"), [(1, True), (2, True), (3, False), (8, False), (22, False), (23, True), (900, True)]
)
def test_the_nearest_measured_batch_size_decides(model, rows, refused):
    runtime = refusing(model, ofr.always(exit=0), {1: SLOWER, 8: FASTER, 64: SLOWER})
    assert runtime.refuses(rows) is refused


def test_what_is_unresolved_is_not_refused(model):
    assert not refusing(model, ofr.always(exit=0), {8: EITHER}).refuses(8)


def test_a_refused_batch_gets_what_the_plain_network_gives(model, tiny_mlp):
    runtime = refusing(model, ofr.always(exit=0), {1: FASTER, 8: SLOWER})
    x = tiny_mlp.batch(8)
    decisions = runtime(x)
    with torch.no_grad():
        torch.testing.assert_close(decisions.logits, model.backbone(x))
    assert decisions.exits.tolist() == [2] * 8
    assert decisions.macs.tolist() == [model.cost.plain] * 8


def test_another_batch_gets_the_policy_s_decisions(model, tiny_mlp):
    policy = ofr.Policy(ofr.criteria.Margin(), [0.3, 0.3])
    runtime = refusing(model, policy, {1: SLOWER, 8: FASTER})
    x = tiny_mlp.batch(20)
    expected = ofr.deploy(model, policy)(x)
    assert len(set(expected.exits.tolist())) > 1
    assert torch.equal(runtime(x).exits, expected.exits)
    assert torch.equal(runtime(x).logits, expected.logits)
    assert runtime.policy == policy


def test_every_kind_of_inputs_has_its_rows_counted(tiny):
    model = tiny.attach()
    runtime = refusing(model, ofr.always(exit=0), {1: FASTER, 9: SLOWER})
    assert set(runtime(tiny.batch(1)).exits.tolist()) == {0}
    assert set(runtime(tiny.batch(9)).exits.tolist()) == {model.exits - 1}


def test_wrong_inputs_are_refused_as_ever(model):
    runtime = refusing(model, ofr.always(exit=0), {1: FASTER})
    with pytest.raises(InputError, match="empty"):
        runtime(torch.zeros(0, 5))


def test_segment_by_segment_nothing_is_refused(model, tiny_mlp):
    runtime = refusing(model, ofr.always(exit=0), {8: SLOWER})
    assert runtime.staged()(tiny_mlp.batch(8)).exits.tolist() == [0] * 8


def costly_head(feature: torch.Tensor, classes: int) -> nn.Module:
    hidden = [part for _ in range(4) for part in (nn.Linear(512, 512), nn.ReLU())]
    return nn.Sequential(nn.Linear(feature.shape[1], 512), *hidden, nn.Linear(512, classes))


def test_exits_that_were_measured_slower_are_refused():
    backbone = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    model = ofr.attach(backbone, at=["1"], example=torch.zeros(1, 16), head=costly_head)
    x = torch.randn(40, 16)
    runtime = ofr.deploy(model, ofr.always(exit=0), refuse=True, data=x, batch_sizes=(1, 16))
    assert isinstance(runtime, RefusingRuntime)
    assert sorted(runtime.ratios) == [1, 16]
    assert runtime(x[:1]).exits.tolist() == [1]
    assert runtime(x).exits.tolist() == [1] * 40


def test_refusing_needs_data_and_sizes(model, tiny_mlp):
    with pytest.raises(VerdictError, match=r"data=\.\.\."):
        ofr.deploy(model, ofr.always(exit=0), refuse=True)
    with pytest.raises(VerdictError, match="batch_sizes"):
        ofr.deploy(model, ofr.always(exit=0), refuse=True, data=tiny_mlp.batch(4), batch_sizes=(0,))
    with pytest.raises(InputError, match="no sample"):
        ofr.deploy(model, ofr.always(exit=0), refuse=True, data=[])
