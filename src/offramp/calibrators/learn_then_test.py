"""Certificates of a loss: fixed-sequence Learn-then-Test along a family of policies.

The family is fixed before any calibration sample is seen. For each member in turn, the hypothesis "this policy loses
more than the bound" is tested at level delta on *all* samples, and testing stops at the first that is not rejected.
With probability at least 1 - delta no policy before the stop loses more than the bound: for that to happen, the first
true hypothesis of the sequence must be rejected, and that one was tested at level delta. All certified policies hold at
once, so the cheapest of them may be chosen by looking at the data.

Where a goal bounds the loss of several groups, "some group loses more" is rejected only if it is for every group, each
at level delta on its own samples (intersection-union test).

Source: Angelopoulos et al. 2021, "Learn then Test", section 2.3 (fixed-sequence testing); Berger 1982 for the groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from offramp.calibrators.drop_tests import DROP_TESTS, SEQUENCE_TESTS, PValue, SequencePValue, samples_needed
from offramp.calibrators.outcome import EXCHANGEABLE, Calibrated, Infeasible, Outcome, gather_evidence
from offramp.calibrators.paths import Family, Outcomes, follow
from offramp.calibrators.scoring import ScoreTable
from offramp.goals import LossGoal
from offramp.goals.loss_goal import Groups

METHOD = "Learn-then-Test"


@dataclass(frozen=True, eq=False)
class Trial:
    """A family tested on a recording.

    Attributes:
        goal: what is certified.
        table: of the recording.
        family: policies in the order of testing.
        groups: that must keep the bound.
        outcomes: of the members.
        bound: loss that is tested.
        level: at which it is tested.
        p_values: of the hypotheses tested: all up to the first that is not rejected, that one included.
    """

    goal: LossGoal
    table: ScoreTable
    family: Family
    groups: Groups
    outcomes: Outcomes
    bound: float
    level: float
    p_values: tuple[float, ...]

    @classmethod
    def of(cls, table: ScoreTable, goal: LossGoal, family: Family, groups: Groups) -> Trial:
        """Follows the family and tests it in order."""
        of = None if groups.of is None else groups.of.numpy()
        outcomes = follow(table, family, of, len(groups.names))
        bound, level = goal.level(outcomes.right, outcomes.samples)
        if goal.drop_test in SEQUENCE_TESTS:
            p_values = _by_samples(table, family, groups, outcomes, SEQUENCE_TESTS[goal.drop_test], bound, level)
        else:
            p_values = _by_counts(outcomes, DROP_TESTS[goal.drop_test], bound, level)
        return cls(goal, table, family, groups, outcomes, bound, level, _in_order(p_values, level))

    @property
    def passed(self) -> int:
        """How many members are certified."""
        p_values = self.p_values
        return len(p_values) if not p_values or p_values[-1] <= self.level else len(p_values) - 1

    @property
    def best(self) -> int | None:
        """The cheapest certified member that leaves early and saves something; None where there is none."""
        if not self.passed:
            return None
        cheapest = int(self.outcomes.mean_cost[: self.passed].argmin())
        pays = self.outcomes.early[cheapest] > 0 and self.outcomes.mean_cost[cheapest] < self.table.cost.plain
        return cheapest if pays else None


def certify(table: ScoreTable, goal: LossGoal, family: Family, groups: Groups, temperatures_from: str) -> Outcome:
    """The cheapest certified policy; Infeasible, with the plain network, where none that takes exits is certified."""
    trial = Trial.of(table, goal, family, groups)
    method = f"{METHOD} along {family.name}, {goal.drop_test} test"
    record: dict[str, Any] = {
        "delta": goal.delta,
        "tested": len(trial.p_values),
        "certified": trial.passed,
        "assumption": EXCHANGEABLE,
    }
    best = trial.best
    if best is None:
        evidence = gather_evidence(table, table.plain(), goal, method, temperatures_from, **record)
        return Infeasible(_reason(trial), table.plain(), evidence)
    policy = table.policy(family.thresholds[best].tolist())
    record["p_value"] = trial.p_values[best]
    return Calibrated(policy, gather_evidence(table, policy, goal, method, temperatures_from, **record))


def _in_order(p_values: Iterable[float], level: float) -> tuple[float, ...]:
    """p-values up to the first above the level, that one included."""
    found: list[float] = []
    for p in p_values:
        found.append(p)
        if p > level:
            break
    return tuple(found)


def _by_counts(outcomes: Outcomes, test: PValue, bound: float, level: float) -> Iterator[float]:
    """One p-value per member: the largest of its groups."""
    sizes = outcomes.sizes.tolist()
    for worse, better in zip(outcomes.worse.tolist(), outcomes.better.tolist(), strict=True):
        groups = zip(sizes, worse, better, strict=True)
        yield max(test(n, w, b, bound, level) for n, w, b in groups)


def _by_samples(
    table: ScoreTable,
    family: Family,
    groups: Groups,
    outcomes: Outcomes,
    test: SequencePValue,
    bound: float,
    level: float,
) -> Iterator[float]:
    """The same from the samples themselves."""
    masks = [slice(None)] if groups.of is None else [groups.of.numpy() == g for g in range(len(groups.names))]
    known: dict[tuple[int, ...], float] = {}
    for taken, thresholds in zip(map(tuple, outcomes.taken.tolist()), family.thresholds.tolist(), strict=True):
        # Thresholds only fall along a family: where as many leave at every exit, the same samples do.
        if taken not in known:
            differences = table.differences(thresholds)
            known[taken] = max(test(differences[mask], bound, level) for mask in masks)
        yield known[taken]


def _reason(trial: Trial) -> str:
    """Why nothing that saves anything was certified, and what would help."""
    return _too_few(trial) or _no_gain(trial) or _stopped(trial)


def _too_few(trial: Trial) -> str | None:
    goal, fewest = trial.goal, int(trial.outcomes.sizes.argmin())
    samples = int(trial.outcomes.sizes[fewest])
    needed = samples_needed(goal.drop_test, trial.bound, trial.level)
    if needed is None:
        return (
            f"No certificate can be given for a drop of at most {trial.bound:g} ({goal.describe()}): no number of "
            "samples rules out a smaller one. Allow a loss above 0, e.g. 0.005."
        )
    if samples >= needed:
        return None
    among = "" if trial.groups.of is None else f" in {trial.groups.names[fewest]}"
    each = "" if trial.groups.of is None else " in each group"
    return (
        f"{samples} calibration samples{among} are too few: with {100 * trial.bound:g} points, delta = {goal.delta:g} "
        f"and the {goal.drop_test} test at least {needed} are needed{each}, even when no exit does any harm."
    )


def _no_gain(trial: Trial) -> str | None:
    if trial.passed < len(trial.family) and not trial.outcomes.early[: trial.passed].any():
        return None
    return (
        f"The policies that could be certified ({trial.goal.describe()}) cost no less than the plain network: too few "
        "samples leave early to pay for the heads. Use cheaper heads, or allow a larger drop."
    )


def _stopped(trial: Trial) -> str:
    at, outcomes = trial.passed, trial.outcomes
    thresholds = trial.family.thresholds[at]
    opened = thresholds[np.isfinite(thresholds)]
    where = f"{opened[0]:.6g}" if (opened == opened[0]).all() else str([float(f"{t:.6g}") for t in opened])
    return (
        f"No policy that takes an exit could be certified ({trial.goal.describe()}): at the threshold {where} "
        f"{outcomes.early[at]} samples leave early, {outcomes.worse[at].sum()} of them wrongly and "
        f"{outcomes.better[at].sum()} to advantage. Record more samples, allow a larger drop, or train the exits "
        "longer."
    )
