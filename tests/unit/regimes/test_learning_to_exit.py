"""Learning to exit: the term by hand, what it leaves alone, and that an exit learns where it is right."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import offramp as ofr
from offramp.errors import TrainingError
from offramp.regimes import Alternating, Joint, LearningToExit
from offramp.regimes.learning_to_exit import CertaintyLoss

LABELS = torch.tensor([0, 1])
# Means 0 and ln 3, that is certainties 1/2 and 3/4; exit 0 is right about sample 0 only, exit 1 about both.
EARLY = [
    torch.tensor([[1.0, -1.0], [math.log(3) + 1, math.log(3) - 1]]),
    torch.tensor([[math.log(3) + 1, math.log(3) - 1], [-1.0, 1.0]]),
]
FINAL = torch.zeros(2, 2)


def test_the_term_by_hand():
    found = CertaintyLoss(2.0)([*EARLY, FINAL], LABELS)
    terms = [(0.25 + 0.5625) / 2, (0.0625 + 0.25) / 2]
    assert found.exits.tolist() == pytest.approx([*terms, 0.0])
    assert found.total.item() == pytest.approx(2 * sum(terms) / 2)


def test_cross_entropy_and_certainty_pull_at_different_parts_of_the_logits():
    logits = [z.clone().requires_grad_() for z in (*EARLY, FINAL)]
    cross, certainty = Joint().phases(3, 1)[0].loss, CertaintyLoss(1.0)
    for own in torch.autograd.grad(cross(logits, LABELS).total, logits):
        assert own.sum(dim=1).abs().max() < 1e-6
    for own in torch.autograd.grad(certainty(logits, LABELS).total, logits[:2]):
        assert torch.allclose(own, own.mean(dim=1, keepdim=True).expand_as(own))


def test_the_base_keeps_its_phases_and_its_order_of_steps():
    (phase,) = LearningToExit(Alternating(), weight=0.5).phases(3, epochs=2)
    (base,) = Alternating().phases(3, epochs=2)
    assert phase.name == base.name
    extra = phase.loss([*EARLY, FINAL], LABELS).total - base.loss([*EARLY, FINAL], LABELS).total
    assert extra.item() == pytest.approx(0.5 * ((0.25 + 0.5625) / 2 + (0.0625 + 0.25) / 2) / 2)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_weights_are_refused(weight):
    with pytest.raises(TrainingError, match=r"LearningToExit\(weight="):
        LearningToExit(weight=weight)


def test_a_model_without_early_exits_is_refused():
    with pytest.raises(TrainingError, match="attach one"):
        CertaintyLoss(1.0).check(1)


def problem(samples: int, seed: int) -> TensorDataset:
    """Two classes by the sign of one number; a second number says whether the label is tossed instead."""
    noise = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, 2, generator=noise)
    tossed = torch.rand(samples, generator=noise) < 0.5
    y = torch.where((x[:, 1] > 0) & tossed, x[:, 0] < 0, x[:, 0] > 0)
    return TensorDataset(x, y.long())


@pytest.mark.slow
def test_an_exit_learns_where_it_is_right():
    """Where the second number is positive the label is a coin: certainty must be near 1/2 there, and 1 elsewhere."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    model = ofr.attach(backbone, at=["1"], example=torch.zeros(1, 2))
    train = DataLoader(problem(2000, 1), 50, shuffle=True)
    ofr.fit(model, train, regime=LearningToExit(), epochs=12, optimizer="adamw", lr=0.01, seed=0, progress=False)
    held_out = problem(2000, 2)
    recording = ofr.record(model, DataLoader(held_out, 500))
    certainty = ofr.criteria.Certainty().score(recording.logits[0])
    tossed = held_out.tensors[0][:, 1] > 0
    assert certainty[tossed].mean().item() == pytest.approx(0.5, abs=0.1)
    assert certainty[~tossed].mean().item() > 0.9
