"""The tuned family: fixed before the certified samples, falling, and no dearer than the shared threshold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import offramp as ofr
from offramp.calibrators.scoring import score_table
from offramp.calibrators.tuned_family import _Induction, mixed_losses, tuned_family
from offramp.criteria import CRITERIA, Entropy, MaxProbability, ready_made
from offramp.errors import CalibrationError
from offramp.goals import AccuracyDrop

MakeRecording = Callable[..., ofr.Recording]
GOAL = AccuracyDrop(0.02, delta=0.1)


@pytest.mark.parametrize("criterion", [MaxProbability(), Entropy()])
def test_the_family_goes_from_the_strictest_to_the_loosest(
    make_recording: MakeRecording, criterion: ofr.criteria.Criterion
) -> None:
    table = score_table(make_recording(400), criterion, None)
    thresholds = tuned_family(table, 100).thresholds
    grid = criterion.grid(10, 2000)
    assert thresholds.shape == (100, 3)
    assert thresholds.dtype == table.scores.dtype
    assert (np.diff(thresholds, axis=0) <= 0).all()
    assert thresholds[0].max() == pytest.approx(grid[0])
    assert thresholds[-1].min() == pytest.approx(grid[-1], abs=1e-3)


def test_the_family_is_the_same_each_time_and_follows_its_seed(make_recording: MakeRecording) -> None:
    table = score_table(make_recording(300), MaxProbability(), None)
    first, again, other = (tuned_family(table, 50, seed).thresholds for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_certified_samples_do_not_shape_the_family(make_recording: MakeRecording) -> None:
    tuning = make_recording(500, seed=1)
    policies = []
    for seed in (2, 3):
        result = ofr.calibrate(make_recording(2000, seed=seed), goal=GOAL, tuning=tuning, temperatures=[1.0] * 3)
        policies.append(result.unwrap().thresholds)
    family = tuned_family(score_table(tuning, MaxProbability(), [1.0] * 3, GOAL), 200).thresholds.tolist()
    assert all(list(thresholds) in family for thresholds in policies)
    assert len(set(policies[0])) > 1


def test_a_useless_exit_is_closed(make_recording: MakeRecording) -> None:
    full = make_recording(1500, head=300.0)
    logits = full.logits.clone()
    logits[1] = 0.01 * logits[1].roll(1, dims=0)
    table = score_table(ofr.Recording(logits, full.labels, full.macs, full.head_macs), MaxProbability(), None)
    thresholds = tuned_family(table, 50).thresholds
    assert np.isinf(thresholds[:, 1]).all()
    assert np.isfinite(thresholds[:, 0]).all()


def test_backward_induction_finds_the_best_single_threshold(make_recording: MakeRecording) -> None:
    table = score_table(make_recording(80, exits=2), MaxProbability(), None)
    losses = mixed_losses(table)
    found = _Induction.of(table, losses, np.arange(80))

    def worth(threshold: float, price: float) -> float:
        leaves = table.scores[0] > threshold
        return float(np.where(leaves, losses[0] + price * found.costs[0], losses[1] + price * found.costs[1]).sum())

    for price in (1e-5, 3e-4, 1e-3):
        every = [np.inf, -np.inf, *table.scores[0].tolist()]
        assert worth(found.thresholds(price)[0], price) == pytest.approx(min(worth(t, price) for t in every))


def test_losses_are_half_labels_half_probabilities(make_recording: MakeRecording) -> None:
    table = score_table(make_recording(300), MaxProbability(), None)
    losses = mixed_losses(table)
    assert (losses[-1] == 0).all()
    same = (table.recording.predictions == table.recording.predictions[-1]).numpy()
    assert (losses[:-1][same[:-1]] == 0).all()
    harmed = table.plain_correct & ~table.correct[0]
    assert (losses[0][harmed] >= 0.6).all()


def test_every_criterion_with_thresholds_has_a_tuned_family(make_recording: MakeRecording) -> None:
    tuning = make_recording(150)
    for name in ready_made():
        assert len(tuned_family(score_table(tuning, CRITERIA[name](), None), 20)) == 20


def test_families_are_chosen_by_name(make_recording: MakeRecording) -> None:
    recording, tuning = make_recording(2000), make_recording(500, seed=1)
    shared = ofr.calibrate(recording, goal=GOAL, tuning=tuning, family="shared")
    assert len(set(shared.unwrap().thresholds)) == 1
    assert "one shared threshold" in shared.evidence.method
    assert "per-exit thresholds" in ofr.calibrate(recording, goal=GOAL, tuning=tuning).evidence.method
    assert (
        "one shared threshold" in ofr.calibrate(recording, goal=GOAL, tuning=tuning, grid=[0.99, 0.9]).evidence.method
    )
    with pytest.raises(CalibrationError, match=r"family='tuned'.*give tuning="):
        ofr.calibrate(recording, goal=GOAL, family="tuned")
    with pytest.raises(CalibrationError, match="family='best' must be one of 'auto', 'shared', 'tuned'"):
        ofr.calibrate(recording, goal=GOAL, family="best")  # type: ignore[arg-type]
