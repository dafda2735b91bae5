"""What the criteria refuse, and the values that no paper's rule settles; the rules themselves are in tests/parity."""

from __future__ import annotations

import json

import pytest
import torch

import offramp as ofr
from offramp.criteria import (
    AllOf,
    AnyOf,
    ClassFloors,
    ClassThresholds,
    Coarse,
    Gate,
    GeometricEnsemble,
    JensenShannon,
    Margin,
    MaxProbability,
    MinimumDepth,
    Patience,
    PerExit,
    Random,
    Voting,
    WeightedEnsemble,
    criterion_from_dict,
    ready_made,
)
from offramp.errors import PolicyError

INF = float("inf")
GATE = Gate(((((1.0, 0.0, 0.0, 0.0),), (0.0,)),), classes=4, top=2)


def draws(exits: int = 3, rows: int = 400, classes: int = 4, seed: int = 0) -> ofr.Recording:
    logits = 2 * torch.randn(exits, rows, classes, generator=torch.Generator().manual_seed(seed))
    return ofr.Recording(logits, None, range(1, exits + 1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Patience.thresholds(3, early_exits=3),
            r"\(3, early_exits=3\).*at most 2 times.*attach more",
        ),
        (lambda: Patience.thresholds(0, early_exits=3), "whole number from 1"),
        (lambda: Patience.thresholds(1.5, early_exits=3), "whole number from 1"),
        (lambda: Voting.thresholds(4, early_exits=3), r"thresholds\(4, early_exits=3\).*at most 3 votes"),
        (lambda: Voting(power=2.0), r"power=2\.0.*from 0 to 1"),
        (lambda: GeometricEnsemble("margin"), r"confidence='margin'.*MaxProbability\(\)"),
        (lambda: GeometricEnsemble(Patience()), r"confidence=Patience\(\).*reads its answer only"),
        (lambda: WeightedEnsemble(((1.0,), (1.0,))), r"exit k needs k \+ 1"),
        (lambda: WeightedEnsemble(((-1.0,),)), "at least 0"),
        (lambda: WeightedEnsemble(((0.0,),)), "not all"),
        (lambda: WeightedEnsemble(((float("nan"),),)), "finite"),
        (lambda: WeightedEnsemble(((1.0,), (1.0, 1.0)), ((0.0, 0.0),)), r"2 rows of weights and biases.*\[2\]"),
        (lambda: Random(seed=-1), r"seed=-1.*0 to 1000000"),
        (lambda: AnyOf(()), "at least one"),
        (lambda: AllOf((Margin(), 3)), "give criteria"),
        (lambda: AnyOf((Margin(), Patience()), (0.5,)), r"2 members and the thresholds \[0\.5\]"),
        (lambda: AnyOf((Margin(),), (INF,)), r"\[inf\].*finite"),
        (lambda: AllOf((Voting(), GeometricEnsemble())), "Voting, GeometricEnsemble: only one"),
        (lambda: PerExit((Margin(), GeometricEnsemble())), "Margin, GeometricEnsemble: an ensemble answers at all"),
        (lambda: PerExit(()), "one per early exit"),
        (lambda: ClassFloors(Margin(), ()), r"values=\[\].*number per class"),
        (lambda: ClassThresholds(Margin(), (0.1, INF)), r"\[0\.1, inf\].*finite"),
        (lambda: ClassFloors("margin", (0.1,)), "criterion='margin'"),
        (lambda: MinimumDepth(Margin(), -1), r"depth=-1.*0 for the earliest"),
        (lambda: Gate((), classes=4, top=2), r"lead from 4 features to 1"),
        (lambda: Gate(((((1.0,),), (0.0,)),), classes=4, top=2), r"lead from 4 features to 1"),
        (lambda: Gate(((((float("nan"),) * 4,), (0.0,)),), classes=4, top=2), "finite"),
        (lambda: Gate(5, classes=4, top=2), "weights, biases"),
        (lambda: Gate(GATE.layers, classes=4, top=5), r"top=5.*classes, 4"),
        (lambda: Coarse(()), "a row per level"),
        (lambda: Coarse(((0, 2),)), "a row per level"),
        (lambda: Coarse(((0, 0),)), "two groups at least"),
        (lambda: Coarse(((0, 1),), Patience()), r"confidence=Patience\(\)"),
    ],
)
def test_malformed(make, message):
    with pytest.raises(PolicyError, match=message):
        make()


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        (PerExit((GATE,) * 3), "made for 3 early exits, here are 2.*train the gates"),
        (PerExit((GATE, Gate(GATE.layers, classes=9, top=2))), "trained for 9 classes, here are 4"),
        (AllOf((Margin(), Gate(GATE.layers, classes=9, top=2))), "trained for 9 classes, here are 4"),
        (WeightedEnsemble(((1.0,), (1.0, 1.0))), "trained for 2 exits, here are 3 and 4.*train_ensemble"),
        (WeightedEnsemble(((1.0,), (1, 1), (1, 1, 1)), ((0.0,) * 5,) * 3), "3 exits and 5 classes, here are 3 and 4"),
        (ClassFloors(Margin(), (0.1, 0.2)), "2 values, the model has 4 classes"),
        (MinimumDepth(Margin(), 2), r"depth=2\) leaves no exit open.*0 to 1.*always\(exit=2\)"),
        (Coarse(((0, 0, 1),)), r"classes \[3\] by level, the model has 4"),
    ],
)
def test_a_policy_for_another_model_is_refused_everywhere(criterion, message, tiny_mlp):
    policy = ofr.Policy(criterion, [0.5, 0.5])
    for use in (
        lambda: ofr.simulate(draws(), policy),
        lambda: ofr.deploy(tiny_mlp.attach(), policy),
        lambda: ofr.frontier(ofr.Recording(draws().logits, torch.zeros(400).long(), [1, 2, 3]), criterion),
    ):
        with pytest.raises(PolicyError, match=message):
            use()


def test_criteria_inside_criteria_survive_json():
    nested = AnyOf(
        (MinimumDepth(AllOf((Margin(), GeometricEnsemble(Margin())), (0.1, 0.2)), 1), PerExit((GATE, Patience()))),
        (0.5, 1.5),
    )
    assert criterion_from_dict(json.loads(json.dumps(nested.to_dict()))) == nested
    policy = ofr.Policy(nested, [0.0, 0.0])
    assert ofr.Policy.from_dict(json.loads(json.dumps(policy.to_dict()))) == policy


def test_what_is_wrong_inside_is_said():
    data = {"name": "all_of", "members": [{"name": "margins"}], "thresholds": []}
    with pytest.raises(PolicyError, match=r"no criterion 'margins'"):
        criterion_from_dict(data)


def test_a_member_that_is_closed_at_an_exit_lets_nobody_leave_there():
    alone = ofr.Policy(AnyOf((JensenShannon(),)), [-INF, -INF])
    assert ofr.simulate(draws(), alone).exits.unique().tolist() == [1]
    beside = ofr.Policy(AnyOf((JensenShannon(), Margin()), (-1.0, 0.9)), [0.0, 0.0])
    at_first = ofr.simulate(draws(), beside).exits == 0
    assert torch.equal(at_first, Margin().score(draws().logits[0]) > 0.9)
    both = ofr.Policy(AllOf((MinimumDepth(Margin(), 1), Margin())), [-INF, -INF])
    assert ofr.simulate(draws(), both).exits.unique().tolist() == [1]


def test_a_composition_answers_as_its_ensemble_does():
    recording = draws()
    policy = ofr.Policy(AnyOf((Margin(), GeometricEnsemble()), (0.5, 0.5)), [0.0, 0.0])
    ensemble = ofr.Policy(GeometricEnsemble(), [0.0, 0.0])
    assert torch.equal(recording.answers(policy), recording.answers(ensemble))


@pytest.mark.parametrize(
    "around",
    [
        lambda ensemble: ClassFloors(ensemble, (0.3, 0.4, 0.5, 0.6)),
        lambda ensemble: ClassThresholds(ensemble, (0.3, 0.4, 0.5, 0.6)),
        lambda ensemble: AnyOf((Margin(), ensemble), (0.5, 0.5)),
        lambda ensemble: AllOf((ensemble, Margin()), (0.5, 0.5)),
        lambda ensemble: MinimumDepth(ensemble, 1),
    ],
)
def test_what_is_put_around_an_ensemble_asks_it_once(around, monkeypatch):
    asked = []
    whole = GeometricEnsemble.answer
    monkeypatch.setattr(GeometricEnsemble, "answer", lambda *given: (asked.append(1), whole(*given))[1])
    first, second, _ = draws().logits
    criterion = around(GeometricEnsemble())
    score, answer = criterion.judge(second, [first])
    assert len(asked) == 1
    assert torch.equal(score, criterion.score(second, [first]))
    assert torch.equal(answer, whole(GeometricEnsemble(), second, [first]))


def test_temperatures_reach_an_ensembles_answers():
    recording = draws()
    policy = ofr.Policy(GeometricEnsemble(), [0.5, 0.5], [2.0, 0.5])
    expected = torch.stack([recording.logits[0] / 2, recording.logits[1] / 0.5, recording.logits[2]])
    torch.testing.assert_close(
        recording.answers(policy)[2].softmax(1), expected.log_softmax(-1).mean(0).softmax(1), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_chance_lets_its_rate_leave_whatever_the_confidence(rate):
    recording = draws(exits=2, rows=20_000)
    leaves = ofr.simulate(recording, ofr.Policy(Random(), [1 - rate])).exits == 0
    assert float(leaves.double().mean()) == pytest.approx(rate, abs=0.012)
    sure = MaxProbability().score(recording.logits[0])
    rates = [float(leaves[rows].double().mean()) for rows in sure.argsort().chunk(4)]
    assert rates == pytest.approx([rate] * 4, abs=0.03)


def test_chance_differs_by_seed_and_exit():
    z = draws(rows=5000).logits[0]
    scores = torch.stack([Random(seed).at(exit).score(z) for seed in (0, 1) for exit in (0, 1)])
    apart = torch.corrcoef(scores) - torch.eye(4)
    assert float(apart.abs().max()) < 0.06


def test_votes_are_counted_before_probabilities():
    """The last exit is as sure as can be, and is outvoted."""
    cat, dog = torch.tensor([[1.0, 0.0]]), torch.tensor([[-90.0, 90.0]])
    assert Voting().answer(dog, [cat, cat]).argmax(1).tolist() == [0]
    assert Voting().answer(dog, [cat]).argmax(1).tolist() == [1]


def test_levels_are_as_fine_as_is_sure():
    two_levels = Coarse(((0, 0, 1, 2), (0, 0, 0, 1)))
    logits = torch.tensor([[9.0, 0.0, 0.0, 0.0], [9.0, 9.0, 0.0, 0.0], [9.0, 9.0, 9.0, 0.0]])
    assert two_levels.levels(logits, threshold=0.9).tolist() == [0, 1, 2]
    assert (two_levels.score(logits) > 0.99).all()


def test_jensen_shannon_loses_no_digits_near_agreement():
    z = torch.randn(50, 10, generator=torch.Generator().manual_seed(0))
    score = JensenShannon().score(z + 1e-5 * torch.randn(50, 10, generator=torch.Generator().manual_seed(1)), [z])
    assert float((1 - score).max()) < 1e-5


@pytest.mark.parametrize("name", ready_made())
def test_the_calibrators_take_every_ready_made_criterion(name):
    labels = torch.randint(4, (400,), generator=torch.Generator().manual_seed(1))
    logits = [2 * draws(seed=k).logits[0] + s * torch.eye(4)[labels] for k, s in enumerate((3, 4, 6))]
    recording = ofr.Recording(torch.stack(logits), labels, [1, 2, 4])
    found = ofr.calibrate(recording, criterion_from_dict({"name": name}), ofr.goals.AccuracyDrop(0.05))
    assert found.feasible
    assert found.evidence.accuracy == ofr.simulate(recording, found.policy).accuracy(labels)
    assert found.evidence.plain_accuracy == float(recording.correct[-1].double().mean())


def test_a_share_of_votes_leaves_nobody_at_the_first_exit_whose_one_vote_is_all() -> None:
    logits = torch.randn(3, 200, 4, generator=torch.Generator().manual_seed(0))
    recording = ofr.Recording(logits, None, [1.0, 2.0, 3.0])
    taken = ofr.simulate(recording, ofr.Policy(Voting(power=1), [0.9, 0.9])).exits
    agree = recording.predictions[0] == recording.predictions[1]
    assert torch.equal(taken, torch.where(agree, 1, 2))
    assert Voting(power=0.5).opens(0)
    assert Voting().opens(0)
