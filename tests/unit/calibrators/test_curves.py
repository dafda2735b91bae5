"""Curves: every outcome they show is what simulate gives at the threshold they name, and none is missing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import offramp as ofr
from offramp.calibrators.curves import Curve, Lines, shared_curve
from offramp.calibrators.scoring import ScoreTable, score_table
from offramp.criteria import MaxProbability
from offramp.policy import NEVER

MakeRecording = Callable[..., ofr.Recording]


def simulated(table: ScoreTable, thresholds: list[float]) -> tuple[int, float]:
    decisions = ofr.simulate(table.recording, table.policy(thresholds))
    correct = int((decisions.predictions == table.recording.labels).sum())
    return correct, pytest.approx(decisions.mean_macs * table.samples, rel=1e-12)


def outcomes(curve: Curve) -> list[tuple[float, int, float]]:
    values = curve.values(np.arange(curve.correct.size))
    return list(zip(values.tolist(), curve.correct.tolist(), curve.cost.tolist(), strict=True))


@given(seed=st.integers(0, 10_000), levels=st.sampled_from([None, 1, 3]), exit=st.integers(0, 2), data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_line_shows_what_simulate_gives(
    make_recording: MakeRecording, seed: int, levels: int | None, exit: int, data: st.DataObject
) -> None:
    table = score_table(make_recording(25, classes=3, seed=seed, levels=levels), MaxProbability(), None)
    value = st.sampled_from([*table.scores.ravel().tolist(), NEVER, -NEVER])
    thresholds = data.draw(st.lists(value, min_size=3, max_size=3))
    curve, closed = Lines(table).through(np.array(thresholds), exit)
    for value_at, correct, cost in outcomes(curve):
        moved = [*thresholds[:exit], value_at, *thresholds[exit + 1 :]]
        assert (correct, cost) == simulated(table, moved)
    assert closed == simulated(table, [*thresholds[:exit], NEVER, *thresholds[exit + 1 :]])


@given(seed=st.integers(0, 10_000), levels=st.sampled_from([None, 1, 3]))
@settings(max_examples=30, deadline=None)
def test_the_shared_curve_shows_every_shared_threshold(
    make_recording: MakeRecording, seed: int, levels: int | None
) -> None:
    table = score_table(make_recording(25, classes=3, seed=seed, levels=levels), MaxProbability(), None)
    curve = shared_curve(table)
    for threshold, correct, cost in outcomes(curve):
        assert (correct, cost) == simulated(table, [threshold] * table.early)
    shown = {(correct, round(cost, 6)) for _, correct, cost in outcomes(curve)}
    for score in np.unique(table.scores)[:-1].tolist():
        correct, _ = simulated(table, [score] * table.early)
        cost = float(table.costs([0.0] * table.early)[table.exits([score] * table.early)].sum())
        assert (correct, round(cost, 6)) in shown


def test_scores_that_tie_leave_together() -> None:
    logits = [[[3.0, 0.0], [3.0, 0.0], [1.0, 0.0]], [[1.0, 0.0]] * 3]
    recording = ofr.Recording(logits, [0, 1, 1], [10.0, 40.0])
    curve, closed = Lines(score_table(recording, MaxProbability(), None)).through(np.array([NEVER]), 0)
    assert curve.correct.tolist() == [1, 1]
    assert curve.cost.tolist() == [60.0, 30.0]
    assert closed == (1, 120.0)


def test_the_best_outcome_weighs_correct_answers_against_cost() -> None:
    curve = Curve(np.array([9, 8, 4]), np.array([90.0, 40.0, 10.0]), np.ones(3), np.zeros(3))
    assert curve.best(price=0.001)[0] == 0
    assert curve.best(price=0.1)[0] == 1
    assert curve.best(price=1.0)[0] == 2


def test_an_empty_curve_has_no_best_outcome() -> None:
    empty = Curve(np.array([], dtype=int), np.array([]), np.array([]), np.array([]))
    assert empty.best(price=1.0) == (-1, -np.inf)
