from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import offramp as ofr
from offramp.benchmark.compute import Matcher, matched
from offramp.errors import BenchmarkError, TrainingError
from offramp.regimes import BackboneAlone, Disjoint, Joint

WIDTH, CLASSES = 8, 3


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    """Two linear layers, with an exit between them: costs that can be counted by hand."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CLASSES))
    model = ofr.attach(backbone, at=["1"], example=torch.zeros(1, WIDTH))
    batch = (torch.randn(16, WIDTH), torch.arange(16) % CLASSES)
    return Matcher(model, batch, {"device": "cpu", "lr": 0.01}, samples=100, batch_size=10, epochs=4)


FIRST, HEAD, LAST = WIDTH * WIDTH, WIDTH * CLASSES, WIDTH * CLASSES


def test_training_a_layer_counts_three_times_its_forward_pass(matcher):
    # The first layer's inputs need no gradient, so it counts twice.
    assert matcher.joint == 2 * FIRST + 3 * HEAD + 3 * LAST


def test_a_frozen_backbone_counts_its_forward_pass_only(matcher):
    cost = matcher.cost(Disjoint(first=0), 1)
    # The head's inputs come from what is frozen: gradients of its weights only.
    assert cost == FIRST + LAST + 2 * HEAD


def test_epochs_add_up(matcher):
    assert matcher.cost(Joint(), 3) == 3 * matcher.joint
    both = matcher.cost(BackboneAlone(), 1) + matcher.cost(Disjoint(first=0), 1)
    assert matcher.cost(Disjoint(), 2) == both


def test_counting_trains_a_copy(matcher):
    before = [p.clone() for p in matcher.model.parameters()]
    matcher.cost(Joint(), 2)
    assert all(torch.equal(p, q) for p, q in zip(before, matcher.model.parameters(), strict=True))


@pytest.mark.parametrize("regime", [Joint(), Disjoint(), BackboneAlone()])
@pytest.mark.parametrize("compute", [1.0, 2.5])
def test_every_regime_spends_what_joint_training_costs(matcher, regime, compute):
    length = matcher.length(regime, compute)
    assert length.budget == compute * 100 * 4 * matcher.joint
    assert length.macs == pytest.approx(matcher.cost(regime, length.epochs) * length.steps * 10)
    # Half a batch per epoch is what rounding may cost.
    assert abs(length.macs - length.budget) <= 0.5 * 10 * matcher.cost(regime, length.epochs)
    assert length.steps * 10 <= 100 + 5


def test_joint_training_itself_is_the_yardstick(matcher):
    length = matcher.length(Joint(), 1.0)
    assert (length.epochs, length.steps) == (4, 10)


@given(st.floats(0.1, 50), st.integers(1, 40), st.floats(50, 5000), st.integers(1, 30))
def test_the_fewest_epochs_that_can_spend_the_budget(per_epoch, samples, budget, start):
    def cost(epochs: int) -> float:
        return per_epoch * epochs

    length = matched(cost, budget, samples, batch_size=1, start=start)
    assert cost(length.epochs) * samples >= budget * (1 - 1e-9)
    assert length.epochs == 1 or cost(length.epochs - 1) * samples < budget


def test_a_regime_that_needs_more_epochs_than_the_budget_gets_fewer_samples():
    def cost(epochs: int) -> float:
        if epochs < 3:
            raise TrainingError("three phases")
        return float(epochs)

    for start in (1, 4):
        length = matched(cost, budget=30, samples=100, batch_size=1, start=start)
        assert (length.epochs, length.steps, length.macs) == (3, 10, 30)


def test_a_cost_that_does_not_rise_is_refused():
    with pytest.raises(BenchmarkError, match=r"No number of epochs makes odd spend 1000 MACs"):
        matched(lambda epochs: 1.0, budget=1000, samples=1, batch_size=1, start=1, name="odd")


def test_a_regime_that_never_trains_says_why():
    def cost(epochs: int) -> float:
        raise TrainingError("The loss became nan at exit 0.")

    with pytest.raises(BenchmarkError, match=r"spend 10 MACs: The loss became nan at exit 0\.$"):
        matched(cost, budget=10, samples=1, batch_size=1, start=1)
