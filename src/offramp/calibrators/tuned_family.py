"""A one-parameter family of per-exit thresholds, from a tuning recording, smooth enough to be certified on another.

1. *Backward induction.* For each of some prices per MAC, thresholds are chosen from the last early exit to the first.
   At exit k, leaving there rather than later changes each sample's loss and cost; the threshold is the one with the
   least sum of `loss + price * cost` over the samples above it, and the exit stays closed where none is below zero.
2. *Half-soft losses.* With labels, the loss of leaving at exit k, `right(full) - right(k)`, is -1, 0 or 1, and a
   handful of samples decides. Its expectation under the full network's temperature-scaled probabilities q,
   `q(full network's answer) - q(answer at exit k)`, has no such noise, but trusts q. Their mean is used, and `CAUTION`
   more for each answer that differs from the full network's, as differing answers widen what a test can prove.
3. *Bagging.* The thresholds, as places in the criterion's grid, are averaged over bootstrap resamples.
4. *Shrinking.* Each is moved half-way to the mean over the exits, that is to the shared threshold.
5. *Ends.* Before the strictest member and behind the loosest all thresholds move together, to the ends of the grid.

Validity does not rest on any of this: a certificate tests the members on samples that had no part in it. Steps 3 and 4
are what makes per-exit thresholds cost less than a shared one, rather than more; see `benchmarks/power.py`.

Cost: `BAGS * PRICES * early` sorted sums over the tuning samples; 0.2 s for 2,500 samples and 3 early exits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from offramp.calibrators.paths import Family
from offramp.calibrators.scoring import Floats, Ints, ScoreTable
from offramp.calibrators.temperature import fit_temperature
from offramp.policy import NEVER

BAGS = 8
PRICES = 40
STRICTEST, LOOSEST = 0.01, 0.6
"""Prices of one plain run, in answers."""
SOFT = 0.5
CAUTION = 0.1
SHRINKING = 0.5
PLACES = 2000
"""Resolution of the criterion's grid, on which thresholds are averaged."""
ENDS = 30


def tuned_family(tuning: ScoreTable, size: int, seed: int = 0) -> Family:
    """Policies from strict to loose, for certifying on other samples.

    Args:
        tuning: scores of the tuning recording, with labels.
        size: how many policies.
        seed: of the resamples.
    """
    grid = np.array(tuning.criterion.grid(tuning.recording.classes, PLACES))
    generator = np.random.default_rng(seed)
    losses = mixed_losses(tuning)
    bags = [_bag(tuning, losses, generator.integers(tuning.samples, size=tuning.samples), grid) for _ in range(BAGS)]
    places = np.mean([places for places, _ in bags], axis=0)
    shared = places.mean(axis=1, keepdims=True)
    path = _with_ends(np.maximum.accumulate(shared + (1 - SHRINKING) * (places - shared), axis=0), len(grid) - 1)
    along = np.linspace(0, len(path) - 1, size)
    smooth = np.stack([np.interp(along, np.arange(len(path)), column) for column in path.T], axis=1)
    thresholds = np.interp(smooth, np.arange(len(grid)), grid).astype(tuning.scores.dtype)
    # An exit that most resamples keep closed at most prices is not worth its head.
    thresholds[:, np.mean([closed for _, closed in bags], axis=0) > 0.5] = NEVER
    return Family(np.minimum.accumulate(thresholds, axis=0), "per-exit thresholds from the tuning recording")


def mixed_losses(table: ScoreTable) -> Floats:
    """`[exits, n]` loss of leaving at each exit with its answer rather than with the plain network's."""
    recording, full = table.recording, table.recording.logits[-1].double()
    hottest = 1.0 if recording.labels is None else fit_temperature(full, recording.labels)
    q = (full / hottest).softmax(dim=1).numpy()
    own = full.argmax(dim=1).numpy()
    soft = np.take_along_axis(q, own[:, None], axis=1).T - np.take_along_axis(q, table.answers.T, axis=1).T
    hard = table.plain_correct.astype(np.int8) - table.correct.astype(np.int8)
    losses: Floats = SOFT * soft + (1 - SOFT) * hard + CAUTION * (table.answers != own)
    return losses


def _bag(table: ScoreTable, losses: Floats, rows: Ints, grid: Floats) -> tuple[Floats, Floats]:
    """Places in the grid `[PRICES, early]` from some samples, and per exit the share of prices that closes it."""
    induction = _Induction.of(table, losses, rows)
    prices = np.geomspace(STRICTEST, LOOSEST, PRICES) / table.cost.plain
    thresholds = np.array([induction.thresholds(float(price)) for price in prices])
    places = np.interp(-thresholds, -grid, np.arange(len(grid)))
    return places, (thresholds == NEVER).mean(axis=0)


def _with_ends(path: Floats, last: int) -> Floats:
    """The path, continued to both ends of the grid, the places 0 and `last`, by moving all places alike."""
    strict, loose = path[0], path[-1]
    before = strict - np.linspace(strict.max(), 0, ENDS, endpoint=False)[:, None]
    behind = loose + np.linspace(last - loose.min(), 0, ENDS, endpoint=False)[::-1, None]
    return np.concatenate([before, path, behind]).clip(0, last)


@dataclass(frozen=True, eq=False)
class _Induction:
    """Samples ready for backward induction.

    Attributes:
        scores: `[early, n]`.
        losses: `[exits, n]`.
        costs: `[exits]`, every head on the way included.
        orders: `[early, n]` samples by falling score.
    """

    scores: Floats
    losses: Floats
    costs: Floats
    orders: Ints

    @classmethod
    def of(cls, table: ScoreTable, losses: Floats, rows: Ints) -> _Induction:
        scores = table.scores[:, rows]
        orders = np.argsort(-scores, axis=1, kind="stable")
        return cls(scores, losses[:, rows], table.costs([0.0] * table.early), orders)

    def thresholds(self, price: float) -> list[float]:
        """The best threshold of each exit, given those of the exits behind it."""
        following = self.losses[-1] + price * self.costs[-1]
        found = [NEVER] * len(self.scores)
        for k in reversed(range(len(self.scores))):
            here = self.losses[k] + price * self.costs[k]
            found[k] = self._cut(k, here - following)
            following = np.where(self.scores[k] > found[k], here, following)
        return found

    def _cut(self, exit: int, change: Floats) -> float:
        """Threshold that minimises the sum of `change` `[n]` over the samples above it; inf for none of them."""
        order = self.orders[exit]
        scores = self.scores[exit, order]
        ends = np.flatnonzero(np.append(scores[1:], -np.inf) < scores)
        sums = change[order].cumsum()[ends]
        best = int(sums.argmin())
        if sums[best] >= 0:
            return NEVER
        last = ends[best]
        return float(scores[last] + scores[last + 1]) / 2 if last + 1 < len(scores) else -NEVER
