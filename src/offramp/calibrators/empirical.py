"""The empirical frontier, and the policy on it that a goal prefers: no certificate, and said so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from offramp.calibrators.outcome import Calibrated, Infeasible, Outcome, gather_evidence
from offramp.calibrators.pareto import Pool
from offramp.calibrators.scoring import Floats, Ints, ScoreTable, score_table
from offramp.calibrators.search import search
from offramp.criteria import Criterion, MaxProbability
from offramp.goals import BudgetGoal, Goal, LossGoal
from offramp.goals.loss_goal import Groups
from offramp.policy import NEVER, Policy
from offramp.recording import Recording

METHOD = "empirical frontier over per-exit thresholds"
CAUTION = (
    "EMPIRICAL: the thresholds were chosen on the very samples that judge them, so new samples will lose more than "
    "these figures say. For a promise, give the goal a delta."
)


@dataclass(frozen=True)
class FrontierPoint:
    """A policy that no other known one beats in both figures, which are those of the recording it was searched on.

    Attributes:
        policy: the policy.
        accuracy: share of samples answered correctly.
        mean_macs: mean multiply-accumulates per sample, heads included.
    """

    policy: Policy
    accuracy: float
    mean_macs: float


def frontier(
    recording: Recording,
    criterion: Criterion | None = None,
    *,
    temperatures: Sequence[float] | None = None,
) -> list[FrontierPoint]:
    """Accuracy against mean MACs over per-exit thresholds: the Pareto set, by ascending MACs.

    The figures are those that `simulate` gives on this recording; on other samples they will be a little worse, as
    the thresholds were chosen on these. No static exit and no threshold shared by all exits is above it.
    See `offramp.calibrators.search` for how it is found and what that costs.

    Args:
        recording: with labels and at least one early exit.
        criterion: what scores; default `MaxProbability()`.
        temperatures: one per early exit, e.g. from `fit_temperatures`; None means 1.

    Raises:
        CalibrationError: there is nothing to choose, or a score is NaN.
        RecordingError: the recording has no labels.

    Example:
        >>> r = Recording([[[2.0, 0.0], [0.1, 0.0]], [[1.0, 0.0], [0.0, 1.0]]], labels=[0, 1], macs=[10, 30])
        >>> [(p.accuracy, p.mean_macs) for p in frontier(r)]
        [(0.5, 10.0), (1.0, 20.0)]
    """
    return frontier_of(score_table(recording, criterion or MaxProbability(), temperatures))


def frontier_of(table: ScoreTable) -> list[FrontierPoint]:
    """See `frontier`."""
    pool = search(table)
    return [
        FrontierPoint(_policy(table, pool, at.correct), at.accuracy, at.mean_macs) for at in _candidates(table, pool)
    ]


class _Candidate(NamedTuple):
    """Figures of a policy in the pool; there may be tens of thousands, so the policy itself is built on demand."""

    correct: int
    accuracy: float
    mean_macs: float


def _candidates(table: ScoreTable, pool: Pool) -> list[_Candidate]:
    places = pool.pareto()
    costs = (pool.cost[places] / table.samples).tolist()
    return [_Candidate(c, c / table.samples, cost) for c, cost in zip(places.tolist(), costs, strict=True)]


def _policy(table: ScoreTable, pool: Pool, correct: int) -> Policy:
    """The pool's policy with so many correct answers; exits behind one that takes everything are closed."""
    thresholds = [float(t) for t in pool.thresholds[correct]]
    if -NEVER in thresholds:
        last = thresholds.index(-NEVER)
        thresholds[last + 1 :] = [NEVER] * (len(thresholds) - last - 1)
    return table.policy(thresholds)


def choose(table: ScoreTable, goal: Goal, groups: Groups, temperatures_from: str) -> Outcome:
    """The policy on the frontier that the goal prefers among those it allows.

    Infeasible where it allows none; the best there is then comes nearest: the cheapest of all.
    """
    pool = search(table)
    candidates = _candidates(table, pool)
    plain = _Candidate(int(table.plain_correct.sum()), float(table.plain_correct.mean()), table.cost.plain)
    best = _first_allowed(table, pool, candidates, plain, goal, groups)
    policy = _policy(table, pool, (best or candidates[0]).correct)
    evidence = gather_evidence(table, policy, goal, METHOD, temperatures_from, caution=CAUTION)
    if best is not None:
        return Calibrated(policy, evidence)
    return Infeasible(_reason(goal, candidates[0], plain), policy, evidence)


def _first_allowed(
    table: ScoreTable, pool: Pool, candidates: list[_Candidate], plain: _Candidate, goal: Goal, groups: Groups
) -> _Candidate | None:
    allowed = sorted((c for c in candidates if goal.allows(c, plain)), key=goal.preference)
    if groups.of is None or not isinstance(goal, LossGoal):
        return allowed[0] if allowed else None
    tally = GroupTally.of(table, groups)
    # Most goals are met by one of the first few.
    return next((c for c in allowed if goal.keeps(*tally.counts(pool.thresholds[c.correct]), plain.accuracy)), None)


@dataclass(frozen=True, eq=False)
class GroupTally:
    """Paired outcomes of one policy, by group."""

    table: ScoreTable
    group: Ints
    count: int

    @classmethod
    def of(cls, table: ScoreTable, groups: Groups) -> GroupTally:
        """For these groups."""
        group = np.zeros(table.samples, dtype=np.int64) if groups.of is None else groups.of.numpy()
        return cls(table, group, len(groups.names))

    def counts(self, thresholds: Floats) -> tuple[Ints, Ints, Ints]:
        """Samples `[groups]` that only the full network gets right, that only the policy does, and all."""
        taken = self.table.exits(thresholds.tolist())
        right, plain = self.table.correct[taken, np.arange(self.table.samples)], self.table.plain_correct
        worse, better = (np.bincount(self.group[who], minlength=self.count) for who in (plain & ~right, right & ~plain))
        return worse, better, np.bincount(self.group, minlength=self.count)


def _reason(goal: Goal, cheapest: _Candidate, plain: _Candidate) -> str:
    spent = (
        f"the cheapest there is spends {cheapest.mean_macs:,.4g} per sample, {cheapest.mean_macs / plain.mean_macs:.3f}"
    )
    advice = "Raise the budget, or attach an earlier exit." if isinstance(goal, BudgetGoal) else "Allow a larger loss."
    return f"No policy reaches the goal ({goal.describe()}): {spent} of the plain network. {advice}"
