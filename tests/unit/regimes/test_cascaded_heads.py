"""Connections between heads: what they compute, that they are learned and kept, and that exits are taken with them."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from tiny_models import image_model, train_loader, val_loader
from torch import nn

import offramp as ofr
from offramp.criteria import Cascade, Certainty, Coarse, GeometricEnsemble, MaxProbability
from offramp.errors import PolicyError, TrainingError
from offramp.regimes import Boosted, CascadedHeads, FeatureHints, Joint, LearningToExit
from offramp.regimes.cascaded_heads import CascadeLoss

SWAP = ((0.0, 1.0), (1.0, 0.0))


def loss_of(regime: CascadedHeads, matrices: list[torch.Tensor]) -> CascadeLoss:
    loss = regime.phases(len(matrices) + 2, 2)[-1].loss
    assert isinstance(loss, CascadeLoss)
    loss.connections = nn.ParameterList(matrices)
    return loss


def fitted(regime: ofr.regimes.Regime, **options: object) -> tuple[ofr.ExitModel, ofr.History]:
    model = image_model()
    arguments = {"val": val_loader("image"), "epochs": 4, "lr": 0.05, **options}
    return model, ofr.fit(model, train_loader("image"), regime=regime, device="cpu", progress=False, **arguments)


def test_the_loss_in_closed_form_and_no_gradient_to_the_exit_before():
    logits = [torch.tensor(z, requires_grad=True) for z in ([[math.log(3), 0.0]], [[0.0, 0.0]], [[0.0, math.log(4)]])]
    loss = loss_of(CascadedHeads(Joint()), [torch.tensor(SWAP)])
    losses = loss(logits, torch.tensor([0]))
    # Exit 1 has nothing to say, and swaps what exit 0 says: 1 to 3 for class 0.
    assert losses.exits.tolist() == pytest.approx([-math.log(3 / 4), -math.log(1 / 4), -math.log(1 / 5)])
    losses.total.backward()
    assert logits[0].grad[0].tolist() == pytest.approx([-0.25 / 3, 0.25 / 3])
    assert loss.connections[0].grad.abs().sum() > 0


def test_it_equals_a_head_that_is_given_the_earlier_logits():
    torch.manual_seed(0)
    features, before = torch.randn(5, 7), torch.randn(5, 3)
    head = nn.Linear(7 + 3, 3)
    own = F.linear(features, head.weight[:, :7], head.bias)
    cascade = Cascade(MaxProbability(), (tuple(map(tuple, head.weight[:, 7:].tolist())),))
    torch.testing.assert_close(cascade.answer(own, [before]), head(torch.cat([features, before], dim=1)))


def test_training_answers_as_the_criterion_does():
    torch.manual_seed(0)
    logits = [torch.randn(20, 4) for _ in range(4)]
    loss = loss_of(CascadedHeads(), [torch.randn(4, 4), torch.randn(4, 4)])
    criterion = loss.criterion()
    assert criterion.criterion == GeometricEnsemble()
    for k, answer in enumerate(loss.answers(logits)):
        found = criterion.answer(logits[k], logits[:k])
        torch.testing.assert_close(found.softmax(-1), answer.softmax(-1))


def test_exits_taken_with_the_historys_criterion_are_as_accurate_as_the_history_says():
    model, history = fitted(CascadedHeads(Joint()), patience=4)
    recording = ofr.record(model, val_loader("image"))
    assert any(any(row) for matrix in history.criterion.connections for row in matrix)
    policy = ofr.Policy(history.criterion, thresholds=(2.0,) * (recording.exits - 1))
    right = (recording.answers(policy).argmax(-1) == recording.required_labels).double().mean(dim=1)
    # Of the epoch whose weights were kept, connections included.
    assert tuple(right.tolist()) == pytest.approx(history.rows[history.best_epoch - 1].val.accuracy)
    again = ofr.History.from_dict(history.to_dict())
    assert again == history


def test_the_best_epochs_connections_are_kept_not_the_last_ones():
    short = fitted(CascadedHeads(Joint()), epochs=1, val=None)[1].criterion
    # A rate that makes every later epoch worse.
    _, history = fitted(CascadedHeads(Joint()), epochs=3, lr=30.0)
    _, last = fitted(CascadedHeads(Joint()), epochs=3, lr=30.0, val=None)
    assert history.best_epoch < 3
    assert history.criterion != last.criterion
    assert short != last.criterion


def test_taking_exits_equals_simulating_them():
    model, history = fitted(CascadedHeads(), epochs=2)
    images = torch.randn(17, 1, 8, 8)
    recording = ofr.record(model, [(images, torch.zeros(17).long())])
    scores = history.criterion.score(recording.logits[1], [recording.logits[0]])
    policy = ofr.Policy(history.criterion, thresholds=(0.4, float(scores.median()))[: recording.exits - 1])
    simulated = ofr.simulate(recording, policy)
    taken = ofr.deploy(model, policy)(images)
    assert torch.equal(taken.exits, simulated.exits)
    torch.testing.assert_close(taken.logits.float(), simulated.logits.float(), rtol=1e-4, atol=1e-5)


def test_a_regimes_criterion():
    assert fitted(Joint(), epochs=1)[1].criterion is None
    assert fitted(Boosted(), epochs=1)[1].criterion == GeometricEnsemble()
    assert fitted(LearningToExit(), epochs=1)[1].criterion == Certainty()


def test_what_trains_inside_trains_along():
    loss = CascadedHeads(FeatureHints()).phases(3, 1)[0].loss
    loss.begins(image_model())
    assert sum("maps" in name for name, _ in loss.named_parameters()) >= 2


def test_one_early_exit_has_none_to_be_connected_with():
    with pytest.raises(TrainingError, match="a model of 2 exits has 1 of them: attach at least two"):
        CascadedHeads(Joint()).phases(2, 1)[0].check(2)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Cascade(MaxProbability(), (((0.0, 1.0),),)), "of the sizes"),
        (lambda: Cascade(MaxProbability(), (((math.nan,),),)), "finite"),
        (lambda: Cascade(Coarse(((0, 1),)), (SWAP,)), "groups"),
        (lambda: Cascade(MaxProbability(), (SWAP,)).check(3, 2), "connects 2 early exits of"),
        (lambda: Cascade(MaxProbability(), (SWAP,)).check(2, 3), "here are 2 and 3"),
    ],
)
def test_impossible_cascades_are_told(make, said):
    with pytest.raises(PolicyError, match=said):
        make()
