"""The certified calibrator: its path is simulate's, its order is kept, its refusals say what would help."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import offramp as ofr
from offramp.calibrators import learn_then_test
from offramp.calibrators.drop_tests import DROP_TESTS
from offramp.calibrators.paths import Family, follow, shared_family
from offramp.calibrators.scoring import ScoreTable, score_table
from offramp.criteria import Entropy, MaxProbability
from offramp.errors import CalibrationError
from offramp.goals import AccuracyDrop, DropTest
from offramp.goals.loss_goal import EVERYBODY
from offramp.metrics import paired_counts

MakeRecording = Callable[..., ofr.Recording]
GOAL = AccuracyDrop(0.01, delta=0.05)


def calm(samples: int, harmed: int = 0, head: float = 0.0) -> ofr.Recording:
    """Exit 0 takes half of the samples at .9; below, at .7, it is wrong on `harmed` of the others."""
    confidence = torch.full((samples,), 0.9)
    confidence[samples // 2 :] = 0.7
    early = torch.stack([(confidence / (1 - confidence)).log(), torch.zeros(samples)], dim=1)
    early[samples - harmed :] = early[samples - harmed :].flip(1)
    full = torch.tensor([1.0, 0.0]).expand(samples, 2)
    return ofr.Recording(torch.stack([early, full]), [0] * samples, [20.0 + head, 100.0 + head], [head])


@given(seed=st.integers(0, 10_000), levels=st.sampled_from([None, 1, 3]))
@settings(max_examples=20, deadline=None)
def test_the_path_shows_what_simulate_gives(make_recording: MakeRecording, seed: int, levels: int | None) -> None:
    recording = make_recording(40, classes=3, seed=seed, levels=levels)
    table = score_table(recording, MaxProbability(), None)
    # Scores themselves are on the grid, so that ties between score and threshold occur.
    grid = sorted([*table.scores.ravel()[::4].tolist(), *MaxProbability().grid(3, 20)], reverse=True)
    family = shared_family(table, grid)
    check_outcomes(recording, table, family)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_a_path_of_per_exit_thresholds_shows_what_simulate_gives(make_recording: MakeRecording, seed: int) -> None:
    recording = make_recording(40, classes=3, seed=seed, levels=3)
    table = score_table(recording, MaxProbability(), None)
    dice = np.random.default_rng(seed)
    thresholds = np.sort(dice.choice(table.scores.ravel(), (15, table.early)), axis=0)[::-1].copy()
    thresholds[:, seed % table.early] = np.inf
    check_outcomes(recording, table, Family(thresholds, "drawn"))


def check_outcomes(recording: ofr.Recording, table: ScoreTable, family: Family) -> None:
    groups = recording.required_labels.numpy()
    outcomes = follow(table, family, groups, recording.classes)
    assert outcomes.sizes.tolist() == np.bincount(groups, minlength=recording.classes).tolist()
    for i, thresholds in enumerate(family.thresholds.tolist()):
        decisions = ofr.simulate(recording, table.policy(thresholds))
        assert (outcomes.worse[i].sum(), outcomes.better[i].sum()) == paired_counts(decisions, recording)
        assert outcomes.early[i] == int((decisions.exits < table.early).sum())
        assert outcomes.taken[i].tolist() == np.bincount(decisions.exits, minlength=recording.exits).tolist()
        assert outcomes.mean_cost[i] == pytest.approx(decisions.mean_macs)
        for group in range(recording.classes):
            rows = torch.as_tensor(groups == group)
            if rows.any():
                some = paired_counts(ofr.simulate(recording.take(rows), table.policy(thresholds)), recording.take(rows))
                assert (outcomes.worse[i, group], outcomes.better[i, group]) == some


def test_testing_stops_at_the_first_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def p_value(samples: int, worse: int, better: int, points: float, delta: float) -> float:
        asked.append(worse)
        return 0.2 if len(asked) == 3 else 0.01

    monkeypatch.setitem(DROP_TESTS, "exact", p_value)
    result = ofr.calibrate(calm(100), goal=GOAL, grid=[0.95, 0.8, 0.75, 0.6])
    assert len(asked) == 3
    assert (result.evidence.tested, result.evidence.certified) == (3, 2)
    assert result.unwrap().thresholds == (pytest.approx(0.8),)
    assert result.evidence.p_value == 0.01


def test_everything_may_be_certified() -> None:
    result = ofr.calibrate(calm(1000), goal=GOAL, grid=[0.95, 0.8, 0.6])
    assert (result.evidence.tested, result.evidence.certified) == (3, 3)
    assert result.unwrap().thresholds == (pytest.approx(0.6),)
    assert result.evidence.macs_share == pytest.approx(0.2)


@pytest.mark.parametrize("test", DROP_TESTS)
def test_the_certificate_stops_before_harm(test: DropTest) -> None:
    goal = AccuracyDrop(0.01, delta=0.05, test=test)
    result = ofr.calibrate(calm(1000, harmed=30), goal=goal)
    assert result.feasible
    assert result.evidence.shares == (0.5, 0.5)
    assert result.evidence.worse == 0


def test_evidence_carries_the_certificate() -> None:
    evidence = ofr.calibrate(calm(1000, harmed=4), goal=AccuracyDrop(0.01, delta=0.05, test="harm")).evidence
    assert (evidence.worse, evidence.better, evidence.harm) == (4, 0, 4)
    assert evidence.drop == pytest.approx(0.004)
    assert evidence.p_value is not None
    assert evidence.p_value == pytest.approx(DROP_TESTS["harm"](1000, 4, 0, 0.01, 0.05))
    assert evidence.delta == 0.05
    assert evidence.assumption is not None
    assert "calibration and deployment samples are exchangeable" in evidence.assumption
    assert "harm" in evidence.method


@pytest.mark.parametrize(("test", "needed"), [("harm", 299), ("exact", None), ("betting", None), ("wsr", None)])
def test_too_few_samples_says_how_many_are_needed(test: DropTest, needed: int | None) -> None:
    goal = AccuracyDrop(0.01, delta=0.05, test=test)
    result = ofr.calibrate(calm(200), goal=goal)
    assert isinstance(result, ofr.Infeasible)
    number = needed or learn_then_test.samples_needed(test, 0.01, 0.05)
    assert f"200 calibration samples are too few: with 1 points, delta = 0.05 and the {test} test" in result.reason
    assert f"at least {number} are needed" in result.reason
    assert ofr.calibrate(calm(number or 0), goal=goal).feasible
    assert not ofr.calibrate(calm((number or 0) - 1), goal=goal).feasible


def test_a_drop_of_nothing_cannot_be_certified() -> None:
    result = ofr.calibrate(calm(5000), goal=AccuracyDrop(0.0, delta=0.05))
    assert isinstance(result, ofr.Infeasible)
    assert "no number of samples" in result.reason


def test_infeasible_comes_with_the_plain_network() -> None:
    harmful = calm(1000, harmed=1000)
    result = ofr.calibrate(harmful, goal=GOAL)
    assert isinstance(result, ofr.Infeasible)
    assert result.best.thresholds == (float("inf"),)
    assert "No policy that takes an exit could be certified" in result.reason
    assert "500 samples leave early, 500 of them wrongly" in result.reason
    assert (result.evidence.macs_share, result.evidence.drop) == (1.0, 0.0)
    with pytest.raises(ofr.errors.InfeasibleError, match=r"thresholds \[inf\]; it is the attribute `best`"):
        result.unwrap()


def test_heads_that_cost_more_than_they_save_are_not_sold_as_a_gain() -> None:
    result = ofr.calibrate(calm(1000, harmed=500, head=70.0), goal=GOAL)
    assert isinstance(result, ofr.Infeasible)
    assert "cost no less than the plain network" in result.reason


@pytest.mark.parametrize("grid", [[0.5, 0.9], [], 0])
def test_the_grid_must_go_from_strict_to_loose(grid: int | list[float]) -> None:
    with pytest.raises(CalibrationError, match="from the strictest to the loosest"):
        ofr.calibrate(calm(1000), goal=GOAL, grid=grid)


def test_the_grid_is_the_criterions_and_knows_no_data(make_recording: MakeRecording) -> None:
    grids = [
        shared_family(score_table(make_recording(20, seed=seed), Entropy(), None), 30).thresholds[:, 0].tolist()
        for seed in range(2)
    ]
    assert grids[0] == grids[1] == np.array(Entropy().grid(10, 30), dtype=np.float32).tolist()


def test_certified_policies_share_one_threshold(make_recording: MakeRecording) -> None:
    result = ofr.calibrate(make_recording(3000), goal=AccuracyDrop(0.02, delta=0.1))
    policy = result.unwrap()
    assert len(set(policy.thresholds)) == 1
    assert result.evidence.drop <= 0.02
    assert result.evidence.macs_share < 1


def test_certify_needs_delta(make_recording: MakeRecording) -> None:
    table = score_table(make_recording(20), MaxProbability(), None)
    with pytest.raises(CalibrationError, match="nothing to certify"):
        learn_then_test.certify(table, AccuracyDrop(0.01), shared_family(table, 10), EVERYBODY, "none")
