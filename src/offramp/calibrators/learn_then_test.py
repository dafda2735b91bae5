"""A certified accuracy drop: fixed-sequence Learn-then-Test along one threshold shared by all exits.

A sequence of thresholds is fixed before any calibration sample is seen, strictest first. For each in turn, the
hypothesis "this policy loses more than `points`" is tested at level delta on *all* samples, and testing stops at the
first that is not rejected. With probability at least 1 - delta no policy before the stop loses more than `points`:
for that to happen, the first true hypothesis of the sequence must be rejected, and that one was tested at level
delta. All certified policies hold at once, so the cheapest of them may be chosen by looking at the data.

Source: Angelopoulos et al. 2021, "Learn then Test", section 2.3 (fixed-sequence testing); per-exit thresholds found on
a split and certified on the rest were measured to cost more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from offramp.calibrators.drop_tests import DROP_TESTS, samples_needed
from offramp.calibrators.outcome import EXCHANGEABLE, Calibrated, Infeasible, Outcome, gather_evidence
from offramp.calibrators.scoring import Floats, Ints, ScoreTable
from offramp.errors import CalibrationError
from offramp.goals import AccuracyDrop

METHOD = "Learn-then-Test along one shared threshold"


@dataclass(frozen=True, eq=False)
class Path:
    """Outcomes of one shared threshold along a sequence.

    Attributes:
        thresholds: `[m]`, strictest first, representable in the dtype of the scores.
        worse: `[m]` samples that only the plain network gets right.
        better: `[m]` samples that only the policy gets right.
        early: `[m]` samples that leave early.
        mean_macs: `[m]` per sample, heads included.
    """

    thresholds: Floats
    worse: Ints
    better: Ints
    early: Ints
    mean_macs: Floats


def fixed_thresholds(table: ScoreTable, grid: int | Sequence[float]) -> Floats:
    """The sequence to test: the criterion's own grid of this size, or one that is given.

    Raises:
        CalibrationError: empty, or not from strict to loose.
    """
    values = table.criterion.grid(table.recording.classes, grid) if isinstance(grid, int) else list(grid)
    # Rounded to the scores' dtype, so that comparing with the grid here and in a runtime is the same comparison.
    thresholds = np.array(values, dtype=table.scores.dtype)
    if not thresholds.size or not (np.diff(thresholds) <= 0).all():
        raise CalibrationError(
            f"calibrate(grid=...) needs thresholds from the strictest to the loosest, got {thresholds.size} of them"
            + (f", from {thresholds[0]:g} to {thresholds[-1]:g} and not falling." if thresholds.size else ".")
        )
    return thresholds


def follow(table: ScoreTable, thresholds: Floats) -> Path:
    """Outcomes at all thresholds in one pass, O(exits n log m).

    A sample leaves at exit k from the first threshold below its score there, up to the first below its score at an
    earlier exit. So its outcome at exit k is added at the one place and taken away at the other, and a cumulative sum
    along the sequence gives the totals.
    """
    size = thresholds.size
    costs = table.costs([0.0] * table.early)
    plain = table.plain_correct
    steps = np.zeros((4, size + 1))
    until = np.full(table.samples, size)
    for k in range(table.early + 1):
        # Number of thresholds at or above the score: those at which the sample does not leave here.
        first = np.searchsorted(-thresholds, -table.scores[k], side="right") if k < table.early else 0
        since = np.minimum(first, until)
        worse, better = plain & ~table.correct[k], table.correct[k] & ~plain
        early = np.full(table.samples, k < table.early)
        for step, weight in zip(steps, (worse, better, early, np.full(table.samples, costs[k])), strict=True):
            step += np.bincount(since, weight, size + 1) - np.bincount(until, weight, size + 1)
        until = since
    totals = steps.cumsum(axis=1)[:, :size]
    worse, better, early = totals[:3].round().astype(np.int64)
    return Path(thresholds, worse, better, early, totals[3] / table.samples)


def certify(table: ScoreTable, goal: AccuracyDrop, grid: int | Sequence[float], temperatures_from: str) -> Outcome:
    """The cheapest certified policy; Infeasible, with the plain network, where none that takes exits is certified."""
    delta = goal.delta
    if delta is None:
        raise CalibrationError(f"{goal!r} has no delta: there is nothing to certify. Give delta, e.g. 0.05.")
    path = follow(table, fixed_thresholds(table, grid))
    p_values = _test_in_order(path, table.samples, goal, delta)
    passed = len(p_values) if not p_values or p_values[-1] <= delta else len(p_values) - 1
    record = {"delta": delta, "tested": len(p_values), "certified": passed, "assumption": EXCHANGEABLE}
    method = f"{METHOD}, {goal.test} test"
    best = int(path.mean_macs[:passed].argmin()) if passed else -1
    if best < 0 or not path.early[best] or path.mean_macs[best] >= table.recording.plain_macs:
        evidence = gather_evidence(table, table.plain(), goal, method, temperatures_from, **record)
        return Infeasible(_reason(table, goal, delta, path, passed), table.plain(), evidence)
    policy = table.policy([path.thresholds[best]] * table.early)
    record["p_value"] = p_values[best]
    return Calibrated(policy, gather_evidence(table, policy, goal, method, temperatures_from, **record))


def _test_in_order(path: Path, samples: int, goal: AccuracyDrop, delta: float) -> list[float]:
    """p-values of the hypotheses tested: all up to the first that is not rejected, that one included."""
    test = DROP_TESTS[goal.test]
    p_values: list[float] = []
    for worse, better in zip(path.worse.tolist(), path.better.tolist(), strict=True):
        p_values.append(test(samples, worse, better, goal.points, delta))
        if p_values[-1] > delta:
            break
    return p_values


def _reason(table: ScoreTable, goal: AccuracyDrop, delta: float, path: Path, passed: int) -> str:
    """Why nothing that saves MACs was certified, and what would help."""
    needed = samples_needed(goal.test, goal.points, delta)
    if needed is None:
        return (
            f"No certificate can be given for a drop of at most {goal.points:g} points: no number of samples rules out "
            "a smaller one. Allow a drop above 0, e.g. AccuracyDrop(0.005, delta=...)."
        )
    if table.samples < needed:
        return (
            f"{table.samples} calibration samples are too few: with {100 * goal.points:g} points, delta = {delta:g} "
            f"and the {goal.test} test at least {needed} are needed, even when no exit does any harm."
        )
    if passed == path.thresholds.size or path.early[:passed].any():
        return (
            f"The policies that could be certified ({goal.describe()}) cost no less than the plain network: too few "
            "samples leave early to pay for the heads. Use cheaper heads, or allow a larger drop."
        )
    return (
        f"No policy that takes an exit could be certified ({goal.describe()}): at the threshold "
        f"{path.thresholds[passed]:.6g} {path.early[passed]} samples leave early, {path.worse[passed]} of them wrongly "
        f"and {path.better[passed]} to advantage. Record more samples, allow a larger drop, or train the exits longer."
    )
