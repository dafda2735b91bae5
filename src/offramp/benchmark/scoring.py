"""What a run is judged by: accuracy within budgets of MACs, with thresholds chosen on held-out samples.

The policies are those of the paper: one threshold shared by all early exits, under each criterion; and the plain
network, which is a policy too: all exits closed, at exactly the backbone's MACs.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from offramp.calibrators.curves import Curve, shared_curve
from offramp.calibrators.scoring import score_table
from offramp.criteria import Criterion
from offramp.policy import NEVER, Policy
from offramp.recording import Recording, simulate

BUDGETS = tuple(round(0.25 + 0.05 * k, 2) for k in range(16))
"""Shares of the backbone's MACs, 25 % to 100 %; the paper's columns are among them."""
COLUMNS = (0.25, 0.5, 0.75, 1.0)
DIGITS = 5


@dataclass(frozen=True)
class Choice:
    """The policy chosen for a budget, and its figures where it was chosen.

    Attributes:
        policy: one threshold for all exits, or all of them closed.
        accuracy: on the calibration samples.
        macs_share: mean MACs there, as a share of the backbone's.
    """

    policy: Policy
    accuracy: float
    macs_share: float


def choose(calibration: Recording, criterion: Criterion, budgets: Sequence[float | None]) -> list[Choice | None]:
    """The most accurate policy within each budget, the cheapest among equals.

    Args:
        calibration: samples that neither trained nor will judge.
        criterion: scores, and answers.
        budgets: shares of the backbone's MACs; None is no limit.

    Returns:
        One choice per budget, None where even the first exit costs more.
    """
    table = score_table(calibration, criterion, None)
    curve = shared_curve(table)
    plain = table.plain()
    cost = np.append(curve.cost / table.samples, table.cost.plain) / table.cost.plain
    correct = np.append(curve.correct, table.plain_correct.sum())
    choices: list[Choice | None] = []
    for budget in budgets:
        allowed = np.flatnonzero(cost <= (np.inf if budget is None else budget) * (1 + 1e-9))
        if not len(allowed):
            choices.append(None)
            continue
        best = allowed[np.lexsort((cost[allowed], -correct[allowed]))[0]]
        policy = plain if best == len(curve.cost) else table.policy([_value(curve, int(best))] * table.early)
        choices.append(Choice(policy, float(correct[best] / table.samples), float(cost[best])))
    return choices


def _value(curve: Curve, row: int) -> float:
    return float(curve.values(np.array([row]))[0])


def judged(choices: Sequence[Choice | None], test: Recording) -> list[tuple[float, float] | None]:
    """Accuracy and share of the backbone's MACs of each chosen policy on samples it was not chosen on."""
    known: dict[Policy, tuple[float, float]] = {}
    for choice in choices:
        if choice is not None and choice.policy not in known:
            taken = simulate(test, choice.policy)
            accuracy = float((taken.predictions == test.required_labels).double().mean())
            known[choice.policy] = (accuracy, float(test.costs(choice.policy)[taken.exits].mean()) / test.plain_macs)
    return [None if choice is None else known[choice.policy] for choice in choices]


def area(accuracies: Sequence[float | None], budgets: Sequence[float] = BUDGETS) -> float:
    """Area under the frontier: mean accuracy over budgets from the first to the last, by the trapezoid rule.

    A budget that no policy meets counts as accuracy 0.

    Example:
        >>> area([0.5, 0.7, 0.9], budgets=[0.5, 0.75, 1.0])
        0.7
    """
    heights = [0.0 if value is None else value for value in accuracies]
    steps = zip(itertools.pairwise(heights), itertools.pairwise(budgets), strict=True)
    total = sum((low + high) / 2 * (end - start) for (low, high), (start, end) in steps)
    return round(total / (budgets[-1] - budgets[0]), DIGITS + 1)


def frontier_columns(
    choices: Sequence[Choice | None], found: Sequence[tuple[float, float] | None]
) -> dict[str, list[float | None]]:
    """The frontier as lists over the budgets, the last without limit, rounded, as results keep it."""
    return {
        "threshold": [None if c is None else _threshold(c.policy) for c in choices],
        "calibration_accuracy": [None if c is None else round(c.accuracy, DIGITS) for c in choices],
        "calibration_macs": [None if c is None else round(c.macs_share, DIGITS) for c in choices],
        "test_accuracy": [None if f is None else round(f[0], DIGITS) for f in found],
        "test_macs": [None if f is None else round(f[1], DIGITS) for f in found],
    }


def _threshold(policy: Policy) -> float | None:
    """The shared threshold; None where it is infinite: all exits closed, or all samples taken by the first."""
    first = policy.thresholds[0] if policy.thresholds else NEVER
    return round(float(first), 7) if np.isfinite(first) else None
