"""`calibrate`: temperatures first, then the calibrator that the goal asks for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor

from offramp.calibrators import budgets, conformal, empirical, learn_then_test
from offramp.calibrators.outcome import Outcome
from offramp.calibrators.paths import Family, shared_family
from offramp.calibrators.scoring import ScoreTable, check_choice, score_table
from offramp.calibrators.temperature import fit_temperatures
from offramp.calibrators.tuned_family import tuned_family
from offramp.criteria import Criterion, MaxProbability
from offramp.errors import CalibrationError
from offramp.goals import GOALS, AccuracyDrop, BudgetGoal, ExpectedHarm, Goal, LossGoal
from offramp.goals.loss_goal import EVERYBODY
from offramp.recording import Recording

GRID = 200
"""Thresholds tested for a certificate. A finer grid stops nearer to the budget and costs no validity."""

DEFAULT_GOAL = AccuracyDrop(0.01)

FamilyName = Literal["auto", "shared", "tuned"]


def calibrate(
    recording: Recording,
    criterion: Criterion | None = None,
    goal: Goal = DEFAULT_GOAL,
    *,
    temperatures: Literal["fit"] | Sequence[float] | None = None,
    tuning: Recording | None = None,
    grid: int | Sequence[float] = GRID,
    family: FamilyName = "auto",
    seed: int = 0,
) -> Outcome:
    """Chooses the policy that reaches a goal at the least cost, with its evidence, or says that there is none.

    A goal without `delta` is judged on the recording itself, over per-exit thresholds (`empirical`). A goal with
    `delta` is certified along a family of policies that must not depend on the certified samples: temperatures come
    from `tuning` or are given, and so do per-exit thresholds (`tuned_family`); without `tuning` the exits share one.

    Args:
        recording: the calibration split, with labels; no sample of it may have been trained on.
        criterion: what scores; default `MaxProbability()`.
        goal: what to reach, see `offramp.goals`.
        temperatures: "fit" (on `tuning`, or where there is none on the recording), or one per early exit. None fits
            where `tuning` is given, and otherwise leaves the logits as they are.
        tuning: another recording of the same model, e.g. of the validation split.
        grid: for certificates: how many thresholds to test, or the thresholds, strictest first. They must not be
            chosen on the recording.
        family: "shared" certifies one threshold for all exits, "tuned" per-exit thresholds found on `tuning`; "auto"
            is "tuned" where `tuning` and no thresholds are given.
        seed: of the subsample on which temperatures are fitted when the recording is large, and of the tuned family.

    Returns:
        `Calibrated` with `policy` and `evidence`, or `Infeasible` with `reason` and `best`. Both have `feasible`,
        `unwrap()` and `to_dict()`.

    Raises:
        CalibrationError: there is nothing to choose, or the parameters contradict each other.
        RecordingError: the recording has no labels and the goal needs them.

    Example:
        >>> r = Recording([[[2.0, 0.0], [0.1, 0.0]], [[1.0, 0.0], [0.0, 1.0]]], labels=[0, 1], macs=[10, 30])
        >>> result = calibrate(r, goal=AccuracyDrop(0.0))
        >>> result.evidence.accuracy, result.evidence.mean_macs
        (1.0, 20.0)
    """
    criterion = criterion or MaxProbability()
    if isinstance(temperatures, str) and temperatures != "fit":
        raise CalibrationError(f"temperatures={temperatures!r}: give 'fit', one number per early exit, or None.")
    check_choice(recording, criterion, None if isinstance(temperatures, str) else temperatures)
    _warn_of_one_answer(goal.truth(recording))
    fixed, origin = _temperatures(recording, goal, temperatures, tuning, seed)
    table = score_table(recording, criterion, fixed, goal)
    groups = goal.groups(recording, tuning) if isinstance(goal, LossGoal) else EVERYBODY
    if not goal.promises:
        return empirical.choose(table, goal, groups, origin)
    chosen = _family(table, goal, grid, family, tuning, seed)
    if isinstance(goal, ExpectedHarm):
        return conformal.control(table, goal, chosen, origin)
    if isinstance(goal, LossGoal):
        return learn_then_test.certify(table, goal, chosen, groups, origin)
    if isinstance(goal, BudgetGoal):
        return budgets.certify(table, goal, chosen, origin)
    certified = ", ".join(kind.__name__ for kind in GOALS.values() if issubclass(kind, LossGoal | BudgetGoal))
    raise CalibrationError(f"{goal!r} cannot be certified. Leave delta out, or use one of {certified}.")


def _family(
    table: ScoreTable,
    goal: Goal,
    grid: int | Sequence[float],
    family: FamilyName,
    tuning: Recording | None,
    seed: int,
) -> Family:
    """The policies to certify, none of which depends on the certified samples."""
    if family not in get_args(FamilyName):
        raise CalibrationError(f"family={family!r} must be one of {', '.join(map(repr, get_args(FamilyName)))}.")
    wanted = "tuned" if tuning is not None and isinstance(grid, int) else "shared"
    if (wanted if family == "auto" else family) == "shared":
        return shared_family(table, grid)
    if tuning is None or not isinstance(grid, int):
        raise CalibrationError(
            "family='tuned' finds per-exit thresholds on another recording: give tuning=, e.g. of the validation "
            "split, and grid= as the number of policies. family='shared' needs neither."
        )
    return tuned_family(score_table(tuning, table.criterion, table.temperatures, goal), grid, seed)


def _temperatures(
    recording: Recording,
    goal: Goal,
    temperatures: str | Sequence[float] | None,
    tuning: Recording | None,
    seed: int,
) -> tuple[Sequence[float] | None, str]:
    """Temperatures of the early exits, and in words where they come from."""
    if temperatures is not None and not isinstance(temperatures, str):
        return temperatures, "given"
    if tuning is not None:
        _check_tuning(recording, tuning)
        if tuning.labels is None:
            return None, "none: the tuning recording has no labels"
        return fit_temperatures(tuning, seed), f"fitted on {tuning.samples} tuning samples"
    if temperatures is None:
        return None, "none"
    if goal.promises:
        raise CalibrationError(
            f"temperatures='fit' with delta={goal.delta}: temperatures fitted on the certified samples would void the "
            "certificate. Give another recording as tuning=, e.g. of the validation split, or fixed temperatures."
        )
    return fit_temperatures(recording, seed), "fitted on the calibration samples"


def _warn_of_one_answer(truth: Tensor) -> None:
    """Rare events and one class on purpose are calibrated like all else; sorted data cut off too early must show."""
    if len(truth) > 1 and bool((truth == truth[0]).all()):
        warnings.warn(
            f"The right answer of all {len(truth)} samples is class {int(truth[0])}: what is chosen here, and any "
            "certificate, holds for samples of that class alone. Record a calibration split of all classes, drawn at "
            "random, unless one class is meant.",
            stacklevel=3,
        )


def _check_tuning(recording: Recording, tuning: Recording) -> None:
    if tuning is recording:
        raise CalibrationError("tuning= is the recording to calibrate on; it must hold other samples.")
    if (tuning.exits, tuning.classes) != (recording.exits, recording.classes):
        raise CalibrationError(
            f"tuning= has {tuning.exits} exits and {tuning.classes} classes, the recording has {recording.exits} and "
            f"{recording.classes}; record both with the same model."
        )
