"""Every goal does what it says, on the samples that chose and in its certificate; and its words come back from JSON."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch

import offramp as ofr
from offramp.binomial import lower_bound
from offramp.calibrators import budgets
from offramp.errors import CalibrationError, InputError, RecordingError
from offramp.goals import (
    GOALS,
    AccuracyDrop,
    Agreement,
    ClassDrop,
    ExpectedHarm,
    Goal,
    LatencyBudget,
    MACBudget,
    WorstDecileHarm,
    goal_from_dict,
)
from offramp.latency import ExitTimes

MakeRecording = Callable[..., ofr.Recording]
TIMES = ExitTimes((0.002, 0.005, 0.0055, 0.01), (0.0001, 0.0001, 0.0001), batch=1, device="cpu")
EVERY_KIND: list[Goal] = [
    AccuracyDrop(0.02),
    AccuracyDrop(0.05, delta=0.1, relative=True),
    Agreement(0.97),
    Agreement(0.9, delta=0.1),
    ClassDrop(0.05),
    ClassDrop(0.2, delta=0.1),
    WorstDecileHarm(0.1),
    WorstDecileHarm(0.3, delta=0.1),
    ExpectedHarm(0.05),
    MACBudget(share=0.6),
    MACBudget(share=0.6, delta=0.1),
    LatencyBudget(TIMES, share=0.6),
    LatencyBudget(TIMES, share=0.6, delta=0.1),
]


def unlabelled(recording: ofr.Recording) -> ofr.Recording:
    return ofr.Recording(recording.logits, None, recording.macs, recording.head_macs, recording.meta)


def outcomes(recording: ofr.Recording, policy: ofr.Policy) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether the policy, and the full network, are right on each sample."""
    right = ofr.simulate(recording, policy).predictions == recording.required_labels
    return right, recording.correct[-1]


@pytest.mark.parametrize("goal", EVERY_KIND, ids=lambda goal: goal.describe())
def test_every_goal_is_reached_where_it_can_be(make_recording: MakeRecording, goal: Goal) -> None:
    result = ofr.calibrate(make_recording(2000), goal=goal, tuning=make_recording(1000, seed=1))
    evidence = result.evidence
    assert result.feasible
    assert evidence.macs_share < 1
    assert (evidence.assumption is not None) == goal.promises
    assert (evidence.caution is None) == goal.promises
    assert evidence.delta == goal.delta
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert goal_from_dict(data["evidence"]["goal"]) == goal
    assert goal.promise()


def test_every_registered_goal_is_among_those_tested() -> None:
    assert {type(goal) for goal in EVERY_KIND} == set(GOALS.values())


def test_a_relative_drop_is_a_share_of_the_accuracy(make_recording: MakeRecording) -> None:
    recording = make_recording(1500)
    plain = float(recording.correct[-1].double().mean())
    found = ofr.calibrate(recording, goal=AccuracyDrop(0.03, relative=True))
    assert found.unwrap() == ofr.calibrate(recording, goal=AccuracyDrop(0.03 * plain)).unwrap()
    assert found.evidence.accuracy is not None
    assert found.evidence.accuracy >= (1 - 0.03) * plain - 1e-12


def test_a_relative_certificate_bounds_the_accuracy_first() -> None:
    bound, level = AccuracyDrop(0.02, delta=0.1, relative=True).level(full_right=900, samples=1000)
    assert bound == pytest.approx(0.02 * lower_bound(1000, 900, 0.005))
    assert bound < 0.02 * 0.9
    assert level == pytest.approx(0.095)


@pytest.mark.parametrize("delta", [None, 0.1])
def test_agreement_needs_no_labels_and_never_reads_them(make_recording: MakeRecording, delta: float | None) -> None:
    recording, goal = make_recording(1500), Agreement(0.9, delta=delta)
    with_labels, without = (ofr.calibrate(r, goal=goal) for r in (recording, unlabelled(recording)))
    assert with_labels.unwrap() == without.unwrap()
    agrees = ofr.simulate(recording, without.unwrap()).predictions == recording.predictions[-1]
    assert without.evidence.agreement == float(agrees.double().mean()) >= 0.9
    assert (without.evidence.accuracy, without.evidence.drop, without.evidence.worse) == (None, None, None)
    assert with_labels.evidence.accuracy is not None
    assert "agreement with the full network 9" in without.evidence.describe()


def test_agreement_tunes_without_labels(make_recording: MakeRecording) -> None:
    tuning = unlabelled(make_recording(800, seed=1))
    evidence = ofr.calibrate(unlabelled(make_recording(1500)), goal=Agreement(0.9, 0.1), tuning=tuning).evidence
    assert evidence.temperatures_from == "none: the tuning recording has no labels"
    assert "tuning recording" in evidence.method


def test_no_class_loses_more_than_its_ceiling(make_recording: MakeRecording) -> None:
    recording = make_recording(2000)
    right, plain = outcomes(recording, ofr.calibrate(recording, goal=ClassDrop(0.03)).unwrap())
    for label in range(recording.classes):
        rows = recording.required_labels == label
        assert float((plain[rows].double() - right[rows].double()).mean()) <= 0.03 + 1e-12
    # The ceiling binds: the same drop on average costs less.
    alone = ofr.calibrate(recording, goal=AccuracyDrop(0.03)).evidence
    assert alone.mean_macs < ofr.calibrate(recording, goal=ClassDrop(0.03)).evidence.mean_macs


def test_no_tenth_is_harmed_more_than_its_ceiling(make_recording: MakeRecording) -> None:
    recording = make_recording(2000)
    right, plain = outcomes(recording, ofr.calibrate(recording, goal=WorstDecileHarm(0.04)).unwrap())
    confidence = recording.logits[-1].double().softmax(-1).amax(-1)
    harmed = (plain & ~right)[confidence.argsort()]
    assert max(float(part.double().mean()) for part in harmed.tensor_split(10)) <= 0.045
    assert float(harmed.double().mean()) <= 0.04


def test_tenths_of_a_certificate_come_from_elsewhere(make_recording: MakeRecording) -> None:
    with pytest.raises(
        CalibrationError, match=r"limits of the tenths must not come from the certified samples.*tuning="
    ):
        ofr.calibrate(make_recording(200), goal=WorstDecileHarm(0.1, delta=0.1))
    goal, tuning = WorstDecileHarm(0.1, delta=0.1), make_recording(500, seed=1)
    groups = goal.groups(make_recording(300), tuning)
    limits = np.quantile(tuning.logits[-1].double().softmax(-1).amax(-1).numpy(), np.arange(1, 10) / 10)
    confidence = make_recording(300).logits[-1].double().softmax(-1).amax(-1).numpy()
    assert groups.of is not None
    assert groups.of.tolist() == np.searchsorted(limits, confidence).tolist()


def test_a_class_with_too_few_samples_is_named(make_recording: MakeRecording) -> None:
    full = make_recording(3000)
    few = (full.required_labels == 7).nonzero().flatten()[5:]
    keep = torch.ones(3000, dtype=torch.bool)
    keep[few] = False
    result = ofr.calibrate(full.take(keep), goal=ClassDrop(0.05, delta=0.1))
    assert isinstance(result, ofr.Infeasible)
    assert "5 calibration samples in class 7 are too few" in result.reason
    assert "are needed in each group" in result.reason


def test_harm_on_average_is_the_conformal_choice(make_recording: MakeRecording) -> None:
    recording, grid = make_recording(600), [0.999, 0.99, 0.95, 0.9, 0.8, 0.7, 0.5, 0.3]
    result = ofr.calibrate(recording, goal=ExpectedHarm(0.03), grid=grid)
    harmed, allowed = torch.zeros(600, dtype=torch.bool), 0
    for threshold in grid:
        right, plain = outcomes(recording, ofr.Policy(ofr.criteria.MaxProbability(), [threshold] * 3))
        harmed |= plain & ~right
        allowed += (int(harmed.sum()) + 1) / 601 <= 0.03
    assert result.unwrap().thresholds[0] == pytest.approx(grid[allowed - 1])
    assert "mean over calibrations only" in result.evidence.method
    assert (result.evidence.delta, result.evidence.p_value) == (None, None)


def test_a_mean_over_calibrations_needs_samples_too(make_recording: MakeRecording) -> None:
    result = ofr.calibrate(make_recording(20), goal=ExpectedHarm(0.01))
    assert isinstance(result, ofr.Infeasible)
    assert "20 calibration samples are too few" in result.reason
    assert "at least 99 are needed" in result.reason
    with pytest.raises(CalibrationError, match="would void the certificate"):
        ofr.calibrate(make_recording(20), goal=ExpectedHarm(0.01), temperatures="fit")


def test_a_certified_budget_leaves_room_that_shrinks_with_the_samples(make_recording: MakeRecording) -> None:
    shares = []
    for samples in (200, 4000):
        evidence = ofr.calibrate(make_recording(samples), goal=MACBudget(share=0.5, delta=0.05)).evidence
        assert evidence.p_value is not None
        assert evidence.p_value <= 0.05
        shares.append(evidence.macs_share)
    assert shares[0] < shares[1] <= 0.5


def test_the_test_of_a_mean_cost_is_a_plain_product() -> None:
    taken, costs, budget = np.array([30, 10, 5]), np.array([1.0, 2.0, 5.0]), 2.4
    scaled, limit = (costs - 1) / 4, (budget - 1) / 4
    bets = np.geomspace(budgets.SMALLEST, budgets.MARGIN / (1 - limit), budgets.BETS)
    capital = np.prod((1 + bets[:, None] * (limit - scaled)) ** taken, axis=1).mean()
    assert budgets.p_value(taken, costs, budget) == pytest.approx(1 / capital)
    assert budgets.p_value(taken, costs, 5.0) == 0
    assert budgets.p_value(taken, costs, 1.0) == 1


def test_the_test_of_a_mean_cost_keeps_its_level() -> None:
    dice = np.random.default_rng(0)
    costs, budget = np.array([1.0, 4.0]), 2.5
    wrong = sum(budgets.p_value(np.array([300 - k, k]), costs, budget) <= 0.1 for k in dice.binomial(300, 0.5, 1000))
    assert wrong <= 130


def test_a_budget_that_no_policy_keeps_comes_with_the_cheapest(make_recording: MakeRecording) -> None:
    recording = make_recording(300)
    result = ofr.calibrate(recording, goal=MACBudget(macs=100.0, delta=0.05))
    assert isinstance(result, ofr.Infeasible)
    assert "the cheapest of the family spends 25" in result.reason
    assert result.evidence.macs_share < 0.4


def test_a_latency_budget_counts_seconds(make_recording: MakeRecording) -> None:
    recording = make_recording(1000)
    found = ofr.calibrate(recording, goal=LatencyBudget(TIMES, seconds=0.004))
    seconds = TIMES.cost.under([t < float("inf") for t in found.unwrap().thresholds])
    mean = float(seconds[ofr.simulate(recording, found.unwrap()).exits].mean())
    assert found.evidence.mean_seconds == pytest.approx(mean)
    assert mean <= 0.004
    assert found.evidence.plain_seconds == pytest.approx(TIMES.plain)
    assert "of its measured time" in found.evidence.describe()


def test_times_of_another_model_are_refused(make_recording: MakeRecording) -> None:
    with pytest.raises(CalibrationError, match=r"has 4 exits, the recording has 3; measure the model"):
        ofr.calibrate(make_recording(50, exits=3), goal=LatencyBudget(TIMES, share=0.5))
    with pytest.raises(InputError, match="one positive time per exit"):
        ExitTimes((0.1, 0.2), (), batch=1, device="cpu")


def test_only_agreement_does_without_labels(make_recording: MakeRecording) -> None:
    tuning = make_recording(100, seed=1)
    for goal in EVERY_KIND:
        if not isinstance(goal, Agreement):
            with pytest.raises(RecordingError, match="needs labels"):
                ofr.calibrate(unlabelled(make_recording(50)), goal=goal, tuning=tuning)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Agreement(0.0), r"share=0\.0.*\(0, 1\]"),
        (lambda: Agreement(1.01), r"share=1\.01"),
        (lambda: Agreement(0.9, delta=1.0), r"Agreement\(delta=1\.0\)"),
        (lambda: ClassDrop(2.0), r"ClassDrop\(0\.02\)"),
        (lambda: WorstDecileHarm(-0.1), "at least 0"),
        (lambda: ExpectedHarm(1.0), "points are a share"),
        (lambda: MACBudget(share=0.5, delta=0.0), r"MACBudget\(delta=0\.0\)"),
        (lambda: MACBudget(share="half"), r"share='half'\) must be a number"),
        (lambda: Agreement("all"), r"share='all'\) must be a number"),
        (lambda: LatencyBudget(TIMES), "exactly one of share"),
        (lambda: LatencyBudget(TIMES, seconds=-1.0), "positive, finite"),
        (lambda: AccuracyDrop(0.01, relative=0.5), "relative=0.5.*True or False"),  # type: ignore[arg-type]
        (lambda: goal_from_dict({"name": "speed"}), "no goal 'speed'. Known: accuracy_drop, agreement"),
        (lambda: goal_from_dict({"name": "agreement", "level": 1}), "Not a goal"),
    ],
)
def test_impossible_goals_are_refused(make: Callable[[], Goal], message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        make()


def test_one_class_leaves_nothing_to_decide() -> None:
    recording = ofr.Recording(torch.zeros(2, 5, 1), [0] * 5, [1.0, 2.0])
    with pytest.raises(CalibrationError, match=r"one class.*offramp\.always\(exit=0\)"):
        ofr.calibrate(recording)


def test_labels_of_one_class_are_calibrated_with_a_warning(make_recording: MakeRecording) -> None:
    full = make_recording(3000)
    some = full.take(full.required_labels == 3)
    with pytest.warns(UserWarning, match=rf"all {some.samples} samples is class 3: .* of that class alone"):
        assert ofr.calibrate(some).feasible
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ofr.calibrate(full)
    result = ofr.calibrate(some, goal=ClassDrop(0.05, delta=0.1))
    assert isinstance(result, ofr.Infeasible)
    assert "0 calibration samples in class 0" in result.reason
