"""Certificates of a mean cost: along a family from the cheapest policy on, by betting.

A sample's cost takes one of `exits` values in [low, high]. With `x` the cost scaled to [0, 1] and `b` the budget
likewise, the capital `K(l) = prod_i (1 + l (b - x_i))` has expectation at most 1 when `E[x] >= b`, for every bet `l` in
[0, 1 / (1 - b)); so has its mean over bets fixed in advance, and the p-value of "the mean cost is above the budget" is
`1 / mean_l K(l)`. It needs no labels and depends on how many samples leave at each exit only. Members are tested in
order, cheapest first, up to the first that is not rejected, see `learn_then_test`; of those certified the most accurate
is chosen.

Source: Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", section 4, with a fixed
mixture of bets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from offramp.calibrators.outcome import EXCHANGEABLE, Calibrated, Infeasible, Outcome, gather_evidence
from offramp.calibrators.paths import Family, Outcomes, follow
from offramp.calibrators.scoring import Floats, Ints, ScoreTable
from offramp.goals import BudgetGoal

METHOD = "Learn-then-Test of the mean cost by betting"
BETS = 24
SMALLEST = 0.02
MARGIN = 0.999


@dataclass(frozen=True)
class _Figures:
    accuracy: float
    mean_macs: float


def certify(table: ScoreTable, goal: BudgetGoal, family: Family, temperatures_from: str) -> Outcome:
    """The most accurate policy whose mean cost is certified; Infeasible, with the cheapest, where there is none."""
    outcomes = follow(table, family)
    right = float(table.plain_correct.mean())
    budget = goal.limit(_Figures(right, table.cost.plain))
    p_values = _in_order(outcomes, budget, goal.delta or 0.0)
    passed = sum(p <= (goal.delta or 0.0) for p in p_values)
    method = f"{METHOD}, along {family.name}"
    record: dict[str, Any] = {
        "delta": goal.delta,
        "tested": len(p_values),
        "certified": passed,
        "assumption": EXCHANGEABLE,
    }
    if not passed:
        cheapest = table.policy(family.thresholds[-1].tolist())
        evidence = gather_evidence(table, cheapest, goal, method, temperatures_from, **record)
        return Infeasible(_reason(goal, outcomes, budget), cheapest, evidence)
    # The family goes from strict to loose, so the cheapest is its last member and testing goes backwards.
    members = range(len(family) - 1, len(family) - 1 - passed, -1)
    figures = {i: _Figures(right - float(outcomes.drop[i]), float(outcomes.mean_cost[i])) for i in members}
    best = min(members, key=lambda i: goal.preference(figures[i]))
    policy = table.policy(family.thresholds[best].tolist())
    record["p_value"] = p_values[len(family) - 1 - best]
    return Calibrated(policy, gather_evidence(table, policy, goal, method, temperatures_from, **record))


def p_value(taken: Ints, costs: Floats, budget: float) -> float:
    """p-value of "the mean cost is above the budget".

    Args:
        taken: `[exits]` samples that leave at each exit.
        costs: `[exits]` of leaving there.
        budget: in the same unit.

    Example:
        >>> p_value(np.array([900, 100]), np.array([1.0, 4.0]), 1.6) < 1e-6
        True
        >>> p_value(np.array([900, 100]), np.array([1.0, 4.0]), 1.2)
        1.0
    """
    low, high = float(costs.min()), float(costs.max())
    if budget >= high:
        return 0.0
    if budget <= low:
        return 1.0
    scaled, limit = (costs - low) / (high - low), (budget - low) / (high - low)
    bets = np.geomspace(SMALLEST, MARGIN / (1 - limit), BETS)
    log_capital = np.log1p(bets[:, None] * (limit - scaled)) @ taken
    top = float(log_capital.max())
    return math.exp(min(0.0, -(top + math.log(float(np.exp(log_capital - top).mean())))))


def _in_order(outcomes: Outcomes, budget: float, delta: float) -> list[float]:
    """p-values from the cheapest member on, up to the first that is not rejected, that one included."""
    found: list[float] = []
    for taken in outcomes.taken[::-1]:
        found.append(p_value(taken, outcomes.costs, budget))
        if found[-1] > delta:
            break
    return found


def _reason(goal: BudgetGoal, outcomes: Outcomes, budget: float) -> str:
    return (
        f"No policy can be certified to reach the goal ({goal.describe()}): the cheapest of the family spends "
        f"{outcomes.mean_cost[-1]:,.4g} per sample on these {outcomes.samples} samples, the budget is {budget:,.4g}. "
        "Raise the budget, record more samples, or attach an earlier exit."
    )
