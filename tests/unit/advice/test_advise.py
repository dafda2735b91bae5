"""Advice: judged on samples that did not choose, paired, and silent where exits do not pay."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

import offramp as ofr
from offramp.advice.advising import default_criteria
from offramp.advice.comparing import Contest, Resampled, _hull, _mixed
from offramp.advice.crossing import Crossed, cross
from offramp.criteria import Always, Entropy, Margin, MaxProbability
from offramp.errors import CalibrationError, RecordingError
from offramp.goals import AccuracyDrop, MACBudget

Make = Callable[..., ofr.Recording]
GOAL = AccuracyDrop(0.02)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(samples: int, seed: int = 0, useful: bool = True) -> ofr.Recording:
    """Three exits; where they are not useful, confidence says nothing about who is right."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(6, (samples,), generator=generator)
    logits = []
    for accuracy in (0.7, 0.8, 0.9):
        hard = torch.rand(samples, generator=generator)
        answers = torch.where(hard < accuracy, labels, (labels + 1) % 6)
        sure = 8 * (1 - hard) if useful else 6 * torch.rand(samples, generator=generator) + 1
        logits.append(torch.nn.functional.one_hot(answers, 6) * sure[:, None])
    return ofr.Recording(torch.stack(logits), labels, [20.0, 60.0, 100.0], [1.0, 1.0], {"split": "calibration"})


def test_exits_pay_where_confidence_tells_right_from_wrong() -> None:
    advice = ofr.advise(network(1500), [MaxProbability(), Margin()], [GOAL, MACBudget(share=0.4)], folds=3)
    assert advice.pays
    assert advice.describe().startswith("Exits pay here: ")
    assert all(choice.gain.low > 0 for choice in advice.choices)
    assert (advice.samples, advice.split, advice.folds) == (1500, "calibration", 3)


def test_exits_do_not_pay_where_it_does_not() -> None:
    advice = ofr.advise(network(1500, useful=False), [MaxProbability(), Entropy()], [GOAL, MACBudget(share=0.4)])
    assert not advice.pays
    assert "Exits do not pay here" in advice.describe()
    assert all(choice.gain.low <= 0 for choice in advice.choices)


@pytest.mark.slow
def test_exits_that_do_not_pay_are_seldom_said_to() -> None:
    criteria, goals = [MaxProbability(), Entropy()], [MACBudget(share=0.4), MACBudget(share=0.7)]
    wrong = sum(ofr.advise(network(300, seed, useful=False), criteria, goals, folds=2).pays for seed in range(40))
    assert wrong <= 6  # of 40 at 5 %: more than 6 in one of 300


def test_the_same_criterion_twice_is_equal_and_ranked_by_goal() -> None:
    advice = ofr.advise(network(600), [MaxProbability(), MaxProbability(), Entropy()], [GOAL], folds=2)
    first, second = (c for c in advice.choices if c.criterion["name"] == "max_probability")
    assert first.gain == second.gain
    assert first.equal_to_best == second.equal_to_best
    assert advice.choices[0].equal_to_best
    assert [c.gain.value for c in advice.choices] == sorted((c.gain.value for c in advice.choices), reverse=True)
    assert set(advice.best()) == {GOAL.describe()}


def test_every_sample_is_judged_by_a_policy_that_never_saw_it() -> None:
    recording = network(200)
    folds = torch.arange(200).tensor_split(4)
    found = cross(recording, MaxProbability(), GOAL, None, folds)
    for held in folds:
        others = torch.ones(200, dtype=torch.bool)
        others[held] = False
        policy = ofr.calibrate(recording.take(others), goal=GOAL).unwrap()
        decisions = ofr.simulate(recording.take(held), policy)
        assert found.right[held].tolist() == (decisions.predictions == recording.required_labels[held]).tolist()
        assert decisions.macs is not None
        assert found.macs[held].tolist() == decisions.macs.tolist()


def test_the_exits_alone_are_mixed_along_their_hull() -> None:
    macs, alone = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.5, 0.55, 0.9, 0.8])
    corners = _hull(macs, alone)
    assert corners[0].tolist() == [1.0, 3.0]
    assert corners[1].tolist() == [0.5, 0.9]
    assert _mixed(macs, alone[None], np.array([[2.0, 9.0, 0.5]])).tolist() == [[pytest.approx(0.7), 0.9, 0.5]]


def test_a_random_mixture_of_exits_gains_nothing() -> None:
    recording = network(4000)
    takes = torch.rand(4000, generator=torch.Generator().manual_seed(1)) < 0.5
    right = torch.where(takes, recording.correct[0], recording.correct[-1]).numpy()
    macs = np.where(takes.numpy(), 20.0, recording.plain_macs)
    contest = Contest.of(recording, [Crossed(MaxProbability(), GOAL, right, macs, 0)], seed=0)
    gain = contest.gain.interval(0, 0.95)
    assert gain.low < 0 < gain.high or gain.high < 0
    assert not contest.pays(0.95)


def test_intervals_are_those_of_the_binomial_law() -> None:
    recording = network(2000)
    contest = Contest.of(
        recording, [Crossed(MaxProbability(), GOAL, recording.correct[0].numpy(), np.ones(2000), 0)], 0
    )
    figure = contest.alone.interval(0, 0.95)
    share = float(recording.correct[0].double().mean())
    assert figure.value == pytest.approx(share)
    assert (figure.high - figure.low) / 2 == pytest.approx(1.96 * (share * (1 - share) / 2000) ** 0.5, rel=0.12)


def test_differences_are_paired() -> None:
    noise = np.random.default_rng(0).normal(size=(400, 1))
    together = Resampled(np.array([0.0, 0.01]), np.hstack([noise, noise + 0.01]))
    apart = Resampled(np.array([0.0, 0.01]), np.hstack([noise, noise[::-1] + 0.01]))
    assert not together.equal(0, 1, 0.95)
    assert apart.equal(0, 1, 0.95)


def test_advice_is_plain_data_and_the_same_each_time() -> None:
    recording = network(300)
    first, again = (ofr.advise(recording, [Margin()], [GOAL], folds=2, seed=3).to_dict() for _ in range(2))
    assert first == again == json.loads(json.dumps(first, allow_nan=False))
    assert set(first["choices"][0]["gain"]) == {"value", "low", "high"}
    assert first["overthinking"]["oracle_accuracy"] >= first["statics"][-1]["accuracy"]["value"]


def test_infeasible_folds_are_counted() -> None:
    advice = ofr.advise(network(200), [Margin()], [AccuracyDrop(0.001, delta=0.01)], folds=2)
    assert advice.choices[0].infeasible_folds == 2
    assert advice.choices[0].drop.value == 0


def test_all_criteria_without_parameters_are_compared() -> None:
    kinds = {type(criterion) for criterion in default_criteria()}
    assert {MaxProbability, Margin, Entropy} <= kinds
    assert Always not in kinds


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folds": 1}, "folds=1"),
        ({"folds": 60}, "at least 2 samples in each"),
        ({"confidence": 1.0}, "confidence=1.0"),
        ({"criteria": []}, "at least one of each"),
        ({"goals": []}, "at least one of each"),
        ({"criteria": [Always(exit=0)]}, r"no threshold to choose"),
    ],
)
def test_impossible_questions_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        ofr.advise(network(100), **{"goals": [GOAL], **arguments})  # type: ignore[arg-type]


def test_too_few_samples_and_no_labels_are_refused() -> None:
    with pytest.raises(CalibrationError, match="30 samples are too few"):
        ofr.advise(network(30))
    full = network(100)
    with pytest.raises(RecordingError, match="needs labels"):
        ofr.advise(ofr.Recording(full.logits, None, full.macs), [Margin()], [GOAL])
