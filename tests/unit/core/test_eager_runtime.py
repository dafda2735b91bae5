"""The eager runtime: what it refuses, and the corners that the laws do not reach."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import offramp as ofr
from offramp.criteria import Entropy, Margin, MaxProbability
from offramp.errors import InputError, PolicyError

INF = float("inf")


def test_decisions_come_in_the_order_of_the_inputs(tiny_mlp):
    model = tiny_mlp.attach()
    inputs = tiny_mlp.batch(50)
    with torch.no_grad():
        logits = model(inputs)
    middle = float(Margin().score(logits[0]).median())
    decisions = ofr.deploy(model, ofr.Policy(Margin(), [middle, INF]))(inputs)
    leaves = Margin().score(logits[0]) > middle
    assert 10 < int(leaves.sum()) < 40
    assert torch.equal(decisions.exits, torch.where(leaves, 0, 2))
    torch.testing.assert_close(decisions.logits, torch.where(leaves.unsqueeze(1), logits[0], logits[2]))
    assert decisions.shares.tolist() == [leaves.double().mean(), 0.0, 1 - leaves.double().mean()]


def test_deploying_sets_evaluation_mode(tiny_resnet):
    model = tiny_resnet.attach().train()
    before = {name: b.clone() for name, b in model.named_buffers()}
    ofr.deploy(model, ofr.always(3))(tiny_resnet.batch(4))
    assert not any(m.training for m in model.modules())
    assert all(torch.equal(b, before[name]) for name, b in model.named_buffers())


@pytest.mark.parametrize("part", ["model", "backbone"])
def test_training_mode_is_refused(tiny_resnet, part):
    model = tiny_resnet.attach()
    runtime = ofr.deploy(model, ofr.always(0))
    (model if part == "model" else model.backbone).train()
    with pytest.raises(InputError, match=r"training mode.*model\.eval\(\)"):
        runtime(tiny_resnet.batch(2))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_wrong_number_of_thresholds_is_refused_at_once(tiny_mlp, count):
    with pytest.raises(PolicyError, match=rf"has {count} thresholds.*2 early exits"):
        ofr.deploy(tiny_mlp.attach(), ofr.Policy(Margin(), [0.5] * count))


def test_an_empty_batch(tiny):
    runtime = ofr.deploy(tiny.attach(), ofr.always(0))
    with pytest.raises(InputError, match=r"batch is empty.*at least one row"):
        runtime(tiny.batch(0))


def test_another_device(tiny_mlp):
    runtime = ofr.deploy(tiny_mlp.attach(), ofr.always(0))
    with pytest.raises(InputError, match=r"inputs are on \['meta'\], the model is on cpu"):
        runtime(tiny_mlp.batch(2).to("meta"))


def test_no_gradients_are_kept(tiny_mlp):
    assert not ofr.deploy(tiny_mlp.attach(), ofr.always(1))(tiny_mlp.batch(2)).logits.requires_grad


def test_the_inputs_stay(tiny_resnet):
    inputs = tiny_resnet.batch(5)
    before = inputs.clone()
    ofr.deploy(tiny_resnet.attach(), ofr.Policy(MaxProbability(), [0.6, 0.6, 0.6]))(inputs)
    assert torch.equal(inputs, before)


def test_two_runtimes_of_one_model_do_not_share_results(tiny_mlp):
    model = tiny_mlp.attach()
    early, late = ofr.deploy(model, ofr.always(0)), ofr.deploy(model, ofr.always(2))
    first = early(tiny_mlp.batch(3))
    kept = first.logits.clone()
    late(tiny_mlp.batch(3, seed=1))
    early(tiny_mlp.batch(3, seed=2))
    assert torch.equal(first.logits, kept)


def test_the_logits_returned_are_not_divided_by_the_temperature(tiny_mlp):
    model, inputs = tiny_mlp.attach(), tiny_mlp.batch(4)
    policy = ofr.Policy(Margin(), [-INF, INF], temperatures=[3.0, 1.0])
    with torch.no_grad():
        assert torch.equal(ofr.deploy(model, policy)(inputs).logits, model(inputs)[0])


class HalfThenSingle(nn.Module):
    """Ends in single precision, as many half-precision models do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(5, 9)
        self.out = nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.first(x))).float()


@pytest.mark.parametrize("end", ["half", "single"])
def test_a_half_precision_model_decides_as_its_recording_says(tiny_mlp, end):
    backbone = tiny_mlp.make() if end == "half" else HalfThenSingle()
    example = tiny_mlp.batch(40).bfloat16()
    cuts = ["1"] if end == "half" else ["first"]
    model = ofr.attach(backbone.bfloat16(), at=cuts, example=example).eval()
    recording = ofr.record(model, [example])
    score = Entropy().score(recording.logits[0])
    policy = ofr.Policy(Entropy(), [float(score.quantile(0.51))])
    taken, simulated = ofr.deploy(model, policy)(example), ofr.simulate(recording, policy)
    assert 0 < int(taken.exits.sum()) < 40
    clear = (score - policy.thresholds[0]).abs() > 1e-2
    assert int(clear.sum()) > 20
    assert torch.equal(taken.exits[clear], simulated.exits[clear])
    torch.testing.assert_close(taken.logits[clear].float(), simulated.logits[clear], rtol=2e-2, atol=2e-2)
    assert taken.logits.dtype == (torch.bfloat16 if end == "half" else torch.float32)


def test_the_gate_of_a_half_precision_model_does_not_saturate():
    """Scores .9991 and .9999 both round to 1 in bf16; the threshold between them must tell them apart."""

    class Scale(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x, torch.zeros_like(x)], dim=1)

    backbone = nn.Sequential(Scale(), nn.Linear(2, 2, bias=False)).bfloat16()
    model = ofr.attach(backbone, at=["0"], example=torch.ones(2, 1).bfloat16(), head=nn.Identity()).eval()
    inputs = torch.tensor([[7.0], [9.0]]).bfloat16()
    decisions = ofr.deploy(model, ofr.Policy(MaxProbability(), [0.9995]))(inputs)
    assert decisions.exits.tolist() == [1, 0]
