"""Search over per-exit thresholds: the Pareto set of accuracy against mean MACs on one recording.

The number of policies is exponential in the exits, but with all thresholds except one fixed the whole curve of
outcomes is exact and cheap (`curves.Lines`), and *every* point on it is a candidate. The search therefore walks
along lines and pools all they show:

1. start from the static exits and from every value of one shared threshold;
2. for a range of prices per MAC, coordinate ascent on `correct - price * cost` from the best policy known: this
   finds the convex hull;
3. lines through policies spread over the Pareto set, some rounds: this fills in between.

Cost: O(early n log n) to sort, then at most `PRICES * SWEEPS * early + ROUNDS * SPREAD * early` lines of O(early n)
each. One core: 0.2 s for 10,000 samples and 3 early exits, 5 s for 50,000 and 7. The result is a local
optimum in each threshold; it is never below the static exits or the shared threshold, which are in the pool.
"""

from __future__ import annotations

import numpy as np

from offramp.calibrators.curves import Lines, shared_curve
from offramp.calibrators.pareto import Pool
from offramp.calibrators.scoring import Floats, Ints, ScoreTable
from offramp.policy import NEVER

PRICES = 24
SWEEPS = 6
ROUNDS = 5
SPREAD = 64


def search(table: ScoreTable) -> Pool:
    """Pool of the best policies found, see the module's docstring."""
    pool = Pool(table.samples, table.early)
    lines = Lines(table)
    _offer_static(table, pool)
    _offer_shared(table, pool)
    # A price of 1 / plain gives up one correct answer for the cost of one plain run.
    for price in np.geomspace(10, 0.1 / table.samples, PRICES) / table.cost.plain:
        _ascend(lines, pool, float(price))
    _fill(lines, pool)
    return pool


def _offer_static(table: ScoreTable, pool: Pool) -> None:
    for k in range(table.early + 1):
        thresholds = [-NEVER if j == k else NEVER for j in range(table.early)]
        taken = table.exits(thresholds)
        correct = table.correct[taken, np.arange(table.samples)].sum()
        cost = table.costs(thresholds)[taken].sum()
        _offer_one(pool, int(correct), float(cost), np.array(thresholds))


def _offer_shared(table: ScoreTable, pool: Pool) -> None:
    curve = shared_curve(table)
    pool.offer(curve.correct, curve.cost, lambda rows: np.repeat(curve.values(rows)[:, None], table.early, axis=1))


def _offer_one(pool: Pool, correct: int, cost: float, thresholds: Floats) -> int:
    return pool.offer(np.array([correct]), np.array([cost]), lambda rows: thresholds[None])


def _ascend(lines: Lines, pool: Pool, price: float) -> None:
    """Moves one threshold at a time to its best value, until none moves."""
    thresholds = pool.best(price)
    for _ in range(SWEEPS):
        before = thresholds.copy()
        for k in range(lines.table.early):
            thresholds[k] = _walk(lines, pool, thresholds, k, price)
        if np.array_equal(before, thresholds):
            return


def _walk(lines: Lines, pool: Pool, thresholds: Floats, exit: int, price: float) -> float:
    """Pools one line and gives the best threshold on it; closed, where opening does not pay for the head."""
    curve, (correct, cost) = lines.through(thresholds, exit)

    def moved(rows: Ints) -> Floats:
        result = np.repeat(thresholds[None], rows.size, axis=0)
        result[:, exit] = curve.values(rows)
        return result

    pool.offer(curve.correct, curve.cost, moved)
    closed = thresholds.copy()
    closed[exit] = NEVER
    _offer_one(pool, correct, cost, closed)
    index, worth = curve.best(price)
    return float(curve.values(np.array([index]))[0]) if worth > correct - price * cost else NEVER


def _fill(lines: Lines, pool: Pool) -> None:
    """Lines through policies spread evenly over the Pareto set, until nothing better is found."""
    seen: set[tuple[float, ...]] = set()
    for turn in range(ROUNDS):
        front = pool.pareto()
        # Each round looks between the policies of the round before.
        places = (np.arange(SPREAD) + turn / ROUNDS) / SPREAD * front.size
        spread = pool.thresholds[front[np.unique(places.astype(int))]]
        fresh = [row for row in spread if tuple(row) not in seen]
        for thresholds in fresh:
            seen.add(tuple(thresholds))
            for k in range(lines.table.early):
                _walk(lines, pool, thresholds, k, 0.0)
        if not fresh:
            return
