"""`calibrate`: what it chooses without a certificate, where temperatures come from, what comes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

import offramp as ofr
from offramp.calibrators import fit_temperatures
from offramp.criteria import Always, Margin
from offramp.errors import CalibrationError, InfeasibleError, PolicyError, RecordingError
from offramp.goals import AccuracyDrop, Figures, Goal, MACBudget

MakeRecording = Callable[..., ofr.Recording]
CERTIFIED = AccuracyDrop(0.02, delta=0.1)


def test_the_default_goal_is_the_cheapest_within_one_point(make_recording: MakeRecording) -> None:
    recording = make_recording(800)
    result = ofr.calibrate(recording)
    plain = recording.correct[-1].double().mean().item()
    allowed = [p.mean_macs for p in ofr.frontier(recording) if p.accuracy >= plain - 0.01 - 1e-12]
    assert result.evidence.mean_macs == pytest.approx(min(allowed))
    assert result.evidence.drop <= 0.01 + 1e-12


def test_no_drop_at_all_is_a_goal(make_recording: MakeRecording) -> None:
    evidence = ofr.calibrate(make_recording(800), goal=AccuracyDrop(0.0)).evidence
    assert evidence.drop <= 0
    assert evidence.macs_share < 1


def test_the_mac_budget_is_kept_and_used(make_recording: MakeRecording) -> None:
    recording = make_recording(800)
    evidence = ofr.calibrate(recording, goal=MACBudget(share=0.5)).evidence
    best = max(p.accuracy for p in ofr.frontier(recording) if p.mean_macs <= 0.5 * recording.plain_macs)
    assert evidence.macs_share <= 0.5
    assert evidence.accuracy == best
    same = ofr.calibrate(recording, goal=MACBudget(macs=0.5 * recording.plain_macs))
    assert same.unwrap() == ofr.calibrate(recording, goal=MACBudget(share=0.5)).unwrap()


def test_a_generous_budget_gives_the_best_accuracy_there_is(make_recording: MakeRecording) -> None:
    recording = make_recording(800)
    evidence = ofr.calibrate(recording, goal=MACBudget(share=2.0)).evidence
    assert evidence.accuracy == ofr.frontier(recording)[-1].accuracy >= evidence.plain_accuracy


def test_a_budget_below_the_cheapest_exit_is_infeasible(make_recording: MakeRecording) -> None:
    recording = make_recording(100)
    result = ofr.calibrate(recording, goal=MACBudget(macs=100.0))
    assert isinstance(result, ofr.Infeasible)
    assert result.best == ofr.frontier(recording)[0].policy
    assert result.evidence.mean_macs == recording.macs[0]
    assert "mean MACs of at most 100" in result.reason
    with pytest.raises(InfeasibleError, match=r"cheapest there is spends 250 per sample.*The best there is: accuracy"):
        result.unwrap()


def test_evidence_is_what_simulate_gives(make_recording: MakeRecording) -> None:
    recording = make_recording(500)
    result = ofr.calibrate(recording, Margin(), AccuracyDrop(0.02))
    decisions = ofr.simulate(recording, result.unwrap())
    labels = recording.required_labels
    evidence = result.evidence
    assert evidence.accuracy == decisions.accuracy(labels)
    assert evidence.drop == pytest.approx(evidence.plain_accuracy - evidence.accuracy)
    assert evidence.worse - evidence.better == round(evidence.drop * 500)
    assert evidence.mean_macs == decisions.mean_macs
    assert evidence.shares == tuple(decisions.shares.tolist())
    assert (evidence.samples, evidence.split) == (500, "calibration")
    assert (evidence.delta, evidence.p_value, evidence.assumption) == (None, None, None)


@pytest.mark.parametrize("goal", [AccuracyDrop(0.01), CERTIFIED, MACBudget(share=0.01)])
def test_outcomes_are_plain_data(make_recording: MakeRecording, goal: Goal) -> None:
    result = ofr.calibrate(make_recording(2000), goal=goal)
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert data["feasible"] is result.feasible
    policy = result.policy if isinstance(result, ofr.Calibrated) else result.best
    assert ofr.Policy.from_dict(data["policy" if result.feasible else "best"]) == policy
    assert data["evidence"]["goal"] == goal.to_dict()


def test_calibrating_twice_gives_the_same(make_recording: MakeRecording) -> None:
    recording = make_recording(500)
    assert ofr.calibrate(recording).to_dict() == ofr.calibrate(recording).to_dict()


def test_temperatures_are_fitted_where_they_may_be(make_recording: MakeRecording) -> None:
    recording, tuning = make_recording(500), make_recording(500, seed=1)
    cases: list[tuple[Goal, dict[str, Any], Any, str]] = [
        (AccuracyDrop(0.01), {}, None, "none"),
        (AccuracyDrop(0.01), {"temperatures": "fit"}, fit_temperatures(recording), "calibration samples"),
        (AccuracyDrop(0.01), {"tuning": tuning}, fit_temperatures(tuning), "500 tuning samples"),
        (AccuracyDrop(0.01), {"temperatures": "fit", "tuning": tuning}, fit_temperatures(tuning), "tuning"),
        (AccuracyDrop(0.2, delta=0.1), {"tuning": tuning}, fit_temperatures(tuning), "tuning"),
        (AccuracyDrop(0.2, delta=0.1), {"temperatures": [1.0, 2.0, 3.0]}, (1.0, 2.0, 3.0), "given"),
        (AccuracyDrop(0.2, delta=0.1), {"temperatures": [1.0, 2.0, 3.0], "tuning": tuning}, (1.0, 2.0, 3.0), "given"),
    ]
    for goal, arguments, expected, origin in cases:
        result = ofr.calibrate(recording, goal=goal, **arguments)
        assert result.unwrap().temperatures == expected
        assert origin in result.evidence.temperatures_from


def test_certified_samples_may_not_fit_temperatures(make_recording: MakeRecording) -> None:
    with pytest.raises(CalibrationError, match=r"would void the certificate\. Give another recording as tuning="):
        ofr.calibrate(make_recording(50), goal=CERTIFIED, temperatures="fit")


def test_tuning_must_be_another_recording_of_the_same_model(make_recording: MakeRecording) -> None:
    recording = make_recording(50)
    with pytest.raises(CalibrationError, match="must hold other samples"):
        ofr.calibrate(recording, tuning=recording)
    with pytest.raises(CalibrationError, match="3 exits and 10 classes, the recording has 4 and 10"):
        ofr.calibrate(recording, tuning=make_recording(50, exits=3))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"criterion": Always(exit=1)}, CalibrationError, r"offramp\.always\(exit=1\)"),
        ({"temperatures": [1.0]}, CalibrationError, "1 values, the recording has 3 early exits"),
        ({"temperatures": [1.0, 0.0, 1.0]}, PolicyError, "above 0"),
        ({"temperatures": "warm"}, CalibrationError, "give 'fit'"),
    ],
)
def test_impossible_arguments_are_refused(
    make_recording: MakeRecording, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ofr.calibrate(make_recording(20), **arguments)


def test_labels_are_needed(make_recording: MakeRecording) -> None:
    labelled = make_recording(20)
    unlabelled = ofr.Recording(labelled.logits, None, labelled.macs)
    for goal in (AccuracyDrop(0.01), CERTIFIED):
        with pytest.raises(RecordingError, match="needs labels"):
            ofr.calibrate(unlabelled, goal=goal)


@dataclass(frozen=True)
class AtLeast(Goal):
    """A goal that offramp does not know."""

    name: ClassVar[str] = "at_least"

    accuracy: float
    delta: float | None = None

    def allows(self, figures: Figures, plain: Figures) -> bool:
        return figures.accuracy >= self.accuracy

    def preference(self, figures: Figures) -> tuple[float, float]:
        return (figures.mean_macs, 0.0)

    def promise(self) -> str:
        return "nothing"

    def describe(self) -> str:
        return f"accuracy of at least {self.accuracy}"


def test_the_frontier_serves_any_goal(make_recording: MakeRecording) -> None:
    recording = make_recording(300)
    evidence = ofr.calibrate(recording, goal=AtLeast(0.7)).evidence
    assert evidence.accuracy >= 0.7
    assert evidence.goal == {"name": "at_least", "accuracy": 0.7, "delta": None}
    with pytest.raises(CalibrationError, match="cannot be certified"):
        ofr.calibrate(recording, goal=AtLeast(0.7, delta=0.05))
