"""`advise`: every criterion for every goal, chosen on some folds of a recording and judged on the others."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from offramp.advice.comparing import Contest
from offramp.advice.crossing import Crossed, cross
from offramp.advice.findings import Advice, Choice, Static
from offramp.calibrators.scoring import check_choice
from offramp.criteria import CRITERIA, Criterion, ready_made
from offramp.errors import CalibrationError
from offramp.goals import AccuracyDrop, Agreement, Goal, MACBudget
from offramp.metrics import overthinking
from offramp.recording import Recording

GOALS: tuple[Goal, ...] = (AccuracyDrop(0.01), AccuracyDrop(0.01, delta=0.05), Agreement(0.98), MACBudget(share=0.5))
FOLDS = 4
FEWEST = 50
"""Samples of a recording on which advice is given: below, no interval separates anything."""


def advise(
    recording: Recording,
    criteria: Sequence[Criterion] | None = None,
    goals: Sequence[Goal] = GOALS,
    *,
    tuning: Recording | None = None,
    folds: int = FOLDS,
    confidence: float = 0.95,
    seed: int = 0,
) -> Advice:
    """Ranks criteria for each goal, says which are statistically equal, and whether exits pay here.

    Each pair is calibrated on all folds but one and judged on that one, so that every sample is judged by a policy that
    never saw it. A choice is worth its *gain*: its accuracy above what the exits used alone, mixed at random, reach at
    the same mean MACs. Intervals come from resampling the samples, all choices together, so that differences are
    paired. Exits pay if the gain of some choice is above 0 beyond doubt, with the number of choices taken into account.

    Args:
        recording: with labels, of samples that were not trained on.
        criteria: to compare; by default all that need no parameters.
        goals: to compare for.
        tuning: another recording of the same model, for temperatures and for the families of certificates.
        folds: at least 2.
        confidence: of the intervals, in (0, 1).
        seed: of folds and resampling.

    Raises:
        CalibrationError: there is nothing to choose, too few samples, or impossible parameters.
        RecordingError: the recording has no labels.
    """
    _check(recording, folds, confidence)
    compared = default_criteria() if criteria is None else list(criteria)
    if not compared or not goals:
        raise CalibrationError("advise(criteria=..., goals=...) needs at least one of each.")
    for criterion in compared:
        check_choice(recording, criterion, None)
    parts = torch.randperm(recording.samples, generator=torch.Generator().manual_seed(seed)).tensor_split(folds)
    crossed = [cross(recording, criterion, goal, tuning, parts) for goal in goals for criterion in compared]
    contest = Contest.of(recording, crossed, seed)
    choices = _choices(crossed, contest, confidence)
    return Advice(
        samples=recording.samples,
        split=None if recording.meta.get("split") is None else str(recording.meta["split"]),
        folds=folds,
        seed=seed,
        confidence=confidence,
        pays=contest.pays(confidence),
        choices=choices,
        statics=_statics(contest, recording, confidence),
        overthinking=overthinking(recording),
    )


def default_criteria() -> list[Criterion]:
    """Every registered criterion that needs no parameters."""
    return [CRITERIA[name]() for name in ready_made()]


def _check(recording: Recording, folds: int, confidence: float) -> None:
    if not 2 <= folds <= recording.samples // 2:
        raise CalibrationError(f"advise(folds={folds}): give 2 or more, with at least 2 samples in each.")
    if not 0 < confidence < 1:
        raise CalibrationError(f"advise(confidence={confidence}) must lie between 0 and 1, e.g. 0.95.")
    if recording.samples < FEWEST:
        raise CalibrationError(
            f"{recording.samples} samples are too few to advise on; record at least {FEWEST}, better some thousands."
        )


def _choices(crossed: Sequence[Crossed], contest: Contest, confidence: float) -> tuple[Choice, ...]:
    found = []
    for i, one in enumerate(crossed):
        rivals = [j for j, other in enumerate(crossed) if other.goal == one.goal]
        best = max(rivals, key=lambda j: contest.gain.values[j])
        found.append(
            Choice(
                criterion=one.criterion.to_dict(),
                goal=one.goal.to_dict(),
                goal_in_words=one.goal.describe(),
                infeasible_folds=one.infeasible,
                accuracy=float(one.right.mean()),
                drop=contest.drop.interval(i, confidence),
                macs_share=contest.share.interval(i, confidence),
                gain=contest.gain.interval(i, confidence),
                equal_to_best=contest.gain.equal(i, best, confidence),
            )
        )
    order = {goal: place for place, goal in enumerate(dict.fromkeys(one.goal for one in crossed))}
    ranked = sorted(zip(crossed, found, strict=True), key=lambda pair: (order[pair[0].goal], -pair[1].gain.value))
    return tuple(choice for _, choice in ranked)


def _statics(contest: Contest, recording: Recording, confidence: float) -> tuple[Static, ...]:
    return tuple(
        Static(exit=k, accuracy=contest.alone.interval(k, confidence), macs_share=float(macs) / recording.plain_macs)
        for k, macs in enumerate(contest.static_macs)
    )
