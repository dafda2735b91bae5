from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

import offramp as ofr
from offramp.analysis import Dominance, gradient_dominance
from offramp.errors import AnalysisError


@pytest.fixture
def model() -> ofr.ExitModel:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    return ofr.attach(backbone, at=["2", "4"], example=torch.zeros(2, 4))


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(12, 4, generator=generator), torch.randint(3, (12,), generator=generator)


@given(st.integers(0, 200), st.integers(2, 5))
def test_shares_sum_to_one_and_cosines_are_cosines(seed, exits):
    rows = torch.randn(exits, 7, generator=torch.Generator().manual_seed(seed))
    found = Dominance.of({"a": rows, "b": 3 * rows})
    torch.testing.assert_close(found.signed_shares.sum(dim=1), torch.ones(2).double())
    torch.testing.assert_close(found.norm_shares.sum(dim=1), torch.ones(2).double())
    torch.testing.assert_close(found.norm_shares[0], found.norm_shares[1])
    torch.testing.assert_close(found.cosines[0].diagonal(), torch.ones(exits).double())
    assert float(found.cosines.abs().max()) <= 1 + 1e-9


def test_an_exit_that_works_against_the_step_has_a_negative_share():
    found = Dominance.of({"block": torch.tensor([[3.0, 0.0], [-1.0, 0.0]])})
    assert found.signed_shares[0].tolist() == [1.5, -0.5]
    assert found.norm_shares[0].tolist() == [0.75, 0.25]
    assert found.cosines[0, 0, 1] == -1


def test_gradients_are_those_of_backward(model, batch):
    found = gradient_dominance(model, *batch, weights=[1.0, 1.0, 1.0])
    logits = model.eval()(batch[0])
    first = torch.autograd.grad(cross_entropy(logits[0], batch[1]), list(model.backbone[:2].parameters()))
    expected = torch.cat([g.flatten() for g in first]).norm()
    assert found.blocks == ("2", "4", "rest")
    assert float(found.norms[0, 0]) == pytest.approx(float(expected), rel=1e-5)


def test_an_exit_does_not_reach_what_is_behind_it(model, batch):
    found = gradient_dominance(model, *batch)
    assert found.norms[1, 0] == found.norms[2, 0] == found.norms[2, 1] == 0
    assert found.norms[0, 2] > 0
    assert found.signed_shares[2].tolist() == [0, 0, 1]
    assert found.to_dict()["cosines"][2][0][0] is None


def test_nothing_in_the_model_changes(model, batch):
    model.train()
    model.backbone[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradient_dominance(model, *batch)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training
    assert not model.backbone[0].weight.requires_grad
    assert all(p.grad is None for p in model.parameters())


def test_blocks_can_be_named(model, batch):
    found = gradient_dominance(model, *batch, blocks={"stem": list(model.backbone[0].parameters())})
    assert (found.blocks, found.norms.shape) == (("stem",), (1, 3))


def test_wrong_weights_are_refused(model, batch):
    with pytest.raises(AnalysisError, match=r"weights=\[1\.0\]\): the model has 3 exits"):
        gradient_dominance(model, *batch, weights=[1.0])


def test_a_model_without_stages_needs_blocks(model, batch, monkeypatch):
    monkeypatch.setattr(type(model), "stages", lambda self: ())
    with pytest.raises(AnalysisError, match="Give blocks="):
        gradient_dominance(model, *batch)
