"""Gates and the other learned criteria, on recordings whose truth is known."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor

import offramp as ofr
from offramp.criteria import ClassThresholds, Gate, MaxProbability, PerExit
from offramp.errors import CalibrationError, PolicyError

INF = float("inf")


def network(rows: int = 3000, seed: int = 0, classes: int = 5, exits: int = 3) -> ofr.Recording:
    """Exits of growing signal over shared noise; how hard a sample is shows in its probabilities."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=generator)
    hard = torch.randn(rows, 1, generator=generator).mul(0.7).exp()
    shared = torch.randn(rows, classes, generator=generator)
    logits = []
    for k in range(exits):
        z = (0.8 * shared + 0.6 * torch.randn(rows, classes, generator=generator)) * hard
        z[torch.arange(rows), labels] += 2.5 + 0.6 * k
        logits.append(z)
    macs = [10.0 * (k + 1) for k in range(exits)]
    return ofr.Recording(torch.stack(logits), labels, macs, [1.0] * (exits - 1), {"split": "held out"})


def ranking(scores: Tensor, positive: Tensor) -> float:
    """Share of (positive, negative) pairs that the scores put in order."""
    return float((scores[positive][:, None] > scores[~positive][None]).double().mean())


@pytest.mark.parametrize("options", [{}, {"hidden": 6}, {"shared": True}, {"top": 5}], ids=str)
def test_gates_predict_agreement_on_samples_they_have_not_seen(options):
    gates = ofr.train_gates(network(), **options)
    fresh = network(seed=1)
    for k in range(2):
        agrees = fresh.predictions[k] == fresh.predictions[-1]
        score = gates.at(k).score(fresh.logits[k])
        assert ranking(score, agrees) > ranking(MaxProbability().score(fresh.logits[k]), agrees) - 0.01
        # What a gate says is a probability: in each quarter it is about the share that agrees.
        for rows in score.argsort().chunk(4):
            assert float(score[rows].mean()) == pytest.approx(float(agrees[rows].double().mean()), abs=0.06)


def test_gates_need_no_labels_and_are_the_same_again():
    with_labels = network(500)
    without = ofr.Recording(with_labels.logits, None, with_labels.macs, with_labels.head_macs)
    assert ofr.train_gates(without, hidden=4) == ofr.train_gates(with_labels, hidden=4)
    assert ofr.train_gates(with_labels, hidden=4, seed=1) != ofr.train_gates(with_labels, hidden=4)


def test_gates_survive_json_with_their_policy(tmp_path):
    policy = ofr.Policy(ofr.train_gates(network(500), hidden=3), [0.9, 0.8])
    policy.save(tmp_path / "policy.json")
    assert ofr.Policy.load(tmp_path / "policy.json") == policy
    json.loads((tmp_path / "policy.json").read_text())


def test_a_shared_gate_reads_the_depth():
    gates = ofr.train_gates(network(), shared=True).members
    assert gates[0].layers[0][0] == gates[1].layers[0][0]
    assert gates[0].layers[0][1] != gates[1].layers[0][1]


def test_gates_are_trained_at_the_policys_temperatures():
    recording = network(500)
    cold = ofr.train_gates(recording, temperatures=[0.5, 2.0])
    by_hand = ofr.Recording(
        torch.stack([recording.logits[0] * 2, recording.logits[1] / 2, recording.logits[2]]), None, recording.macs
    )
    assert cold == ofr.train_gates(by_hand)


def test_exits_that_always_agree_give_a_finite_gate():
    logits = network(200).logits[:1].expand(3, -1, -1)
    gates = ofr.train_gates(ofr.Recording(logits, None, [1, 2, 3]))
    assert float(gates.at(0).score(logits[0]).min()) > 0.9


def test_a_gate_can_be_calibrated_with_a_certificate():
    gates = ofr.train_gates(network())
    found = ofr.calibrate(network(4000, seed=2), gates, ofr.goals.AccuracyDrop(0.03, delta=0.1))
    assert found.feasible
    fresh = network(20_000, seed=3)
    taken = ofr.simulate(fresh, found.policy)
    assert float(fresh.correct[-1].double().mean()) - taken.accuracy(fresh.labels) < 0.03
    assert taken.mean_macs < fresh.plain_macs


def test_a_trained_ensemble_is_likelier_than_its_members_and_the_plain_mean():
    ensemble, fresh = ofr.train_ensemble(network(), biases=True), network(seed=1)

    def nll(policy_answers: Tensor) -> float:
        return float(torch.nn.functional.cross_entropy(policy_answers, fresh.labels))

    answers = fresh.answers(ofr.Policy(ensemble, [0.5, 0.5]))
    plain_mean = fresh.answers(ofr.Policy(ofr.criteria.GeometricEnsemble(), [0.5, 0.5]))
    for k in range(3):
        assert nll(answers[k]) < nll(fresh.logits[k])
    assert nll(answers[2]) < nll(plain_mean[2])
    assert all(w >= 0 for row in ensemble.weights for w in row)


def test_class_thresholds_keep_the_agreement_in_every_class():
    recording = network(6000)
    recording.logits[0, :, 2] += 1.5  # the first exits take too many for class 2
    learned = ofr.train_class_thresholds(recording, MaxProbability(), agreement=0.9)
    assert learned.values[2] > max(v for c, v in enumerate(learned.values) if c != 2)
    pooled: dict[int, list[Tensor]] = {c: [] for c in range(5)}
    for k in range(2):
        leaves = learned.score(recording.logits[k]) > 0
        agrees = recording.predictions[k] == recording.predictions[-1]
        for c in pooled:
            pooled[c].append(agrees[leaves & (recording.predictions[k] == c)])
    assert all(float(torch.cat(parts).double().mean()) >= 0.9 for parts in pooled.values())


def test_a_class_seen_too_rarely_gets_the_threshold_of_all():
    recording = network(400)
    wide = torch.cat([recording.logits, torch.full((3, 400, 1), -9.0)], dim=-1)
    learned = ofr.train_class_thresholds(ofr.Recording(wide, None, [1, 2, 3]), MaxProbability())
    everywhere = ofr.train_class_thresholds(
        ofr.Recording(wide[..., [5, 0, 1, 2, 3, 4]], None, [1, 2, 3]), MaxProbability()
    )
    assert learned.values[5] == everywhere.values[0]


@pytest.mark.parametrize("budget", [12.0, 20.0, 27.0])
def test_a_schedule_keeps_its_budget_and_beats_random_leaving(budget):
    recording, fresh = network(), network(seed=1)
    policy = ofr.train_schedule(recording, budget)
    assert ofr.simulate(recording, policy).mean_macs <= budget
    assert ofr.simulate(recording, policy).mean_macs > 0.85 * budget
    taken = ofr.simulate(fresh, policy)
    assert taken.mean_macs == pytest.approx(budget, rel=0.07)
    agreement = float((taken.predictions == fresh.predictions[-1]).double().mean())
    # Static exits, mixed at random to cost as much as the schedule does.
    static = [(fresh.predictions[k] == fresh.predictions[-1]).double().mean().item() for k in range(3)]
    costs = [10.0, 20.0, 28.0]
    j = 1 if taken.mean_macs > 20 else 0
    share = min((taken.mean_macs - costs[j]) / (costs[j + 1] - costs[j]), 1.0)
    assert agreement > static[j] + share * (static[j + 1] - static[j]) + 0.005


def test_a_budget_of_the_first_exit_sends_everybody_there():
    recording = network(300)
    assert ofr.simulate(recording, ofr.train_schedule(recording, 10.0)).exits.unique().tolist() == [0]


def test_a_budget_above_the_whole_network_is_not_an_error():
    recording = network(300)
    decided = ofr.simulate(recording, ofr.train_schedule(recording, 1000.0))
    assert float((decided.predictions == recording.predictions[-1]).double().mean()) > 0.9


def test_a_budget_below_the_first_exit():
    with pytest.raises(CalibrationError, match=r"budget=5\).*first exit already costs 10 MACs.*earlier exit"):
        ofr.train_schedule(network(100), 5.0)
    with pytest.raises(CalibrationError, match="budget=nan"):
        ofr.train_schedule(network(100), math.nan)


TRAINERS = {
    "train_gates": ofr.train_gates,
    "train_ensemble": ofr.train_ensemble,
    "train_class_thresholds": lambda r, **o: ofr.train_class_thresholds(r, MaxProbability(), **o),
    "train_schedule": lambda r, **o: ofr.train_schedule(r, 20.0, **o),
}


@pytest.mark.parametrize("name", TRAINERS)
def test_the_test_split_and_models_without_exits_are_refused(name):
    recording = network(60)
    test = ofr.Recording(recording.logits, recording.labels, recording.macs, meta={"split": "test"})
    with pytest.raises(CalibrationError, match=f"{name}.*the split 'test', which nothing may be learned from"):
        TRAINERS[name](test)
    with pytest.raises(CalibrationError, match=f"{name}.*one exit.*Attach early exits"):
        TRAINERS[name](ofr.Recording(recording.logits[:1], recording.labels, [1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 1}, r"top=1.*number of classes, 5"),
        ({"top": 6}, r"top=6.*number of classes, 5"),
        ({"hidden": -1}, r"hidden=-1.*0 for none"),
        ({"temperatures": [1.0]}, r"temperatures=\[1\.0\].*per early exit \(2\)"),
        ({"temperatures": [1.0, 0.0]}, "above 0"),
    ],
)
def test_impossible_parameters(options, message):
    for train in (TRAINERS["train_gates"], TRAINERS["train_schedule"]):
        with pytest.raises(CalibrationError, match=message):
            train(network(60), **options)


def test_an_impossible_agreement():
    with pytest.raises(CalibrationError, match=r"agreement=1\.0.*between 0 and 1"):
        TRAINERS["train_class_thresholds"](network(60), agreement=1.0)


def test_gates_of_another_model_are_refused():
    gates = ofr.train_gates(network(200))
    assert isinstance(gates, PerExit)
    assert all(isinstance(gate, Gate) for gate in gates.members)
    with pytest.raises(PolicyError, match="made for 2 early exits, here are 3"):
        ofr.simulate(network(20, exits=4), ofr.Policy(gates, [0.5] * 3))
    with pytest.raises(PolicyError, match="trained for 5 classes, here are 7"):
        ofr.simulate(network(20, classes=7), ofr.Policy(gates, [0.5] * 2))
    assert isinstance(ofr.train_class_thresholds(network(200), gates), ClassThresholds)
