"""Conformal risk control of harm: a bound on the mean over calibrations, which is all it promises.

Along a family from strict to loose, let `L_i(j)` be 1 where sample i is harmed by member j or any member before it: a
loss in [0, 1] that only rises. The loosest member j with

    (sum_i L_i(j) + 1) / (n + 1) <= points

satisfies `E[L_{n+1}(j)] <= points`, the expectation being over the calibration samples *and* the new one; and harm is
at most L. No single calibration is promised anything.

Source: Angelopoulos et al. 2022, "Conformal risk control", theorem 1, with B = 1 and the loss made monotone (section
2.3 there).
"""

from __future__ import annotations

import numpy as np

from offramp.calibrators.outcome import EXCHANGEABLE, Calibrated, Infeasible, Outcome, gather_evidence
from offramp.calibrators.paths import Family, follow
from offramp.calibrators.scoring import Ints, ScoreTable
from offramp.goals import ExpectedHarm

METHOD = "conformal risk control (the mean over calibrations only)"


def control(table: ScoreTable, goal: ExpectedHarm, family: Family, temperatures_from: str) -> Outcome:
    """The cheapest member within the bound; Infeasible, with the plain network, where that takes no exit."""
    harmed = np.bincount(_first_harm(table, family), minlength=len(family) + 1)[: len(family)].cumsum()
    allowed = int(((harmed + 1) / (table.samples + 1) <= goal.points).sum())
    outcomes = follow(table, family)
    method = f"{METHOD}, along {family.name}"
    best = int(outcomes.mean_cost[:allowed].argmin()) if allowed else -1
    if best < 0 or not outcomes.early[best] or outcomes.mean_cost[best] >= table.cost.plain:
        evidence = gather_evidence(table, table.plain(), goal, method, temperatures_from, assumption=EXCHANGEABLE)
        return Infeasible(_reason(table, goal, allowed), table.plain(), evidence)
    policy = table.policy(family.thresholds[best].tolist())
    evidence = gather_evidence(table, policy, goal, method, temperatures_from, assumption=EXCHANGEABLE)
    return Calibrated(policy, evidence)


def _first_harm(table: ScoreTable, family: Family) -> Ints:
    """`[n]` first member that harms each sample; the number of members where none does."""
    never = len(family)
    first, until = np.full(table.samples, never), np.full(table.samples, never)
    for k in range(table.early):
        since = np.minimum(np.searchsorted(-family.thresholds[:, k], -table.scores[k], side="right"), until)
        harms = table.plain_correct & ~table.correct[k] & (since < until)
        first = np.where(harms, np.minimum(first, since), first)
        until = since
    return first


def _reason(table: ScoreTable, goal: ExpectedHarm, allowed: int) -> str:
    needed = int(np.ceil(1 / goal.points)) - 1 if goal.points > 0 else None
    if needed is None or table.samples < needed:
        fewest = "no number is enough" if needed is None else f"at least {needed} are needed"
        return f"{table.samples} calibration samples are too few for {goal.describe()}: {fewest}."
    return (
        f"The first {allowed} members of the family keep the goal ({goal.describe()}), and none of them saves anything "
        "against the plain network. Allow more harm, use cheaper heads, or train the exits longer."
    )
