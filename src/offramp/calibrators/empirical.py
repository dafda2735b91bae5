"""The empirical frontier, and the policy on it that a goal prefers: no certificate, and said so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from offramp.calibrators.outcome import Calibrated, Infeasible, Outcome, gather_evidence
from offramp.calibrators.pareto import Pool
from offramp.calibrators.scoring import ScoreTable, score_table
from offramp.calibrators.search import search
from offramp.criteria import Criterion, MaxProbability
from offramp.goals import Goal
from offramp.policy import NEVER, Policy
from offramp.recording import Recording

METHOD = "empirical frontier over per-exit thresholds"


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


def choose(table: ScoreTable, goal: Goal, temperatures_from: str) -> Outcome:
    """The policy on the frontier that the goal prefers among those it allows.

    Infeasible where it allows none; the best there is then comes nearest: the cheapest of all.
    """
    pool = search(table)
    candidates = _candidates(table, pool)
    plain = _Candidate(int(table.plain_correct.sum()), float(table.plain_correct.mean()), table.recording.plain_macs)
    allowed = [candidate for candidate in candidates if goal.allows(candidate, plain)]
    best = min(allowed, key=goal.preference) if allowed else candidates[0]
    policy = _policy(table, pool, best.correct)
    evidence = gather_evidence(table, policy, goal, METHOD, temperatures_from)
    if allowed:
        return Calibrated(policy, evidence)
    reason = (
        f"No policy reaches the goal ({goal.describe()}): the cheapest there is spends {best.mean_macs:,.0f} MACs per "
        f"sample, {evidence.macs_share:.3f} of the plain network. Raise the budget, or attach an earlier exit."
    )
    return Infeasible(reason, policy, evidence)
