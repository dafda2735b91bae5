"""Exact accuracy and cost along one threshold, all of its values at once: one sort and two cumulative sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from offramp.calibrators.scoring import Bools, Floats, Ints, ScoreTable, between
from offramp.policy import NEVER


@dataclass(frozen=True, eq=False)
class Curve:
    """Outcomes of one threshold at all values that make a difference, strictest first.

    Attributes:
        correct: `[m]` number of correct answers.
        cost: `[m]` total MACs.
        above: `[m]` lowest score that still leaves.
        below: `[m]` highest score that stays; -inf where all leave.
    """

    correct: Ints
    cost: Floats
    above: Floats
    below: Floats

    def values(self, rows: Ints) -> Floats:
        """Thresholds that give the outcomes `rows`."""
        return between(self.above[rows], self.below[rows])

    def best(self, price: float) -> tuple[int, float]:
        """Index and value of the largest `correct - price * cost`; (-1, -inf) where there is no outcome."""
        if not self.correct.size:
            return -1, -np.inf
        worth = self.correct - price * self.cost
        index = int(worth.argmax())
        return index, float(worth[index])


@dataclass(frozen=True, eq=False)
class Steps:
    """The values at which a falling threshold makes a difference: one for each distinct score.

    Attributes:
        ends: `[m]` place of the last of each run of equal scores, in descending order: they leave together.
        above: `[m]` the score there.
        below: `[m]` the next lower score; -inf at the end.
    """

    ends: Ints
    above: Floats
    below: Floats

    @classmethod
    def of(cls, scores: Floats) -> Steps:
        """Steps of scores `[n]` in descending order; a score of -inf never leaves."""
        following = np.append(scores[1:], np.asarray(-np.inf, dtype=scores.dtype))
        ends = np.flatnonzero(scores > following)
        return cls(ends, scores[ends], following[ends])

    def curve(self, correct: Ints, cost: Floats, start: tuple[int, float]) -> Curve:
        """Outcomes of changes that happen one by one as the threshold falls.

        Args:
            correct: `[n]` change of the number of correct answers.
            cost: `[n]` change of the total MACs.
            start: correct answers and total MACs before the first change.
        """
        return Curve(
            correct=start[0] + np.cumsum(correct, dtype=np.int64)[self.ends],
            cost=start[1] + np.cumsum(cost)[self.ends],
            above=self.above,
            below=self.below,
        )


class Lines:
    """Curves through a policy: the threshold of one exit moves, the others stay.

    Scores and correctness are kept once per exit, in descending order of that exit's score: O(early^2 n) memory, some
    bytes each. A curve is then a few passes over contiguous arrays, O(early n), without any sorting or gathering.
    """

    def __init__(self, table: ScoreTable) -> None:
        self.table = table
        orders = np.argsort(-table.scores, axis=1, kind="stable")
        self._scores = [table.scores[:, order] for order in orders]
        self._correct = [table.correct[:, order] for order in orders]
        self._steps = [Steps.of(scores[k]) for k, scores in enumerate(self._scores)]

    def through(self, thresholds: Floats, exit: int) -> tuple[Curve, tuple[int, float]]:
        """Outcomes with `exit` open at every threshold, and `(correct, cost)` with it closed.

        Leaving at `exit` rather than later changes, for each sample that reaches it, correctness by
        `correct[exit] - correct[later]` and cost by `costs[exit] - costs[later]`.
        """
        closed, opened = thresholds.tolist(), thresholds.tolist()
        closed[exit], opened[exit] = NEVER, 0.0
        later, right = self._without(closed, exit)
        costs = self.table.costs(opened)
        counts = np.bincount(later, minlength=len(costs))
        total = int(right.sum())
        # Those who left before `exit` do not reach it: nothing changes for them.
        saving = np.where(np.arange(len(costs)) > exit, costs[exit] - costs, 0.0)
        gain = (self._correct[exit][exit].view(np.int8) - right.view(np.int8)) * (later > exit)
        curve = self._steps[exit].curve(gain, saving[later], (total, float(counts @ costs)))
        return curve, (total, float(counts @ self.table.costs(closed)))

    def _without(self, closed: list[float], exit: int) -> tuple[Ints, Bools]:
        """`[n]` exit taken with `exit` closed, and whether it is right there, in the order of `exit`'s scores."""
        scores, correct = self._scores[exit], self._correct[exit]
        later = np.full(self.table.samples, self.table.early, dtype=np.int16)
        right = correct[-1]
        for j in reversed(range(self.table.early)):
            if closed[j] < NEVER:
                leaves = scores[j] > closed[j]
                # Arithmetic instead of assignment under a mask: over ten times faster in numpy.
                later += (np.int16(j) - later) * leaves
                right = (leaves & correct[j]) | (~leaves & right)
        return later, right


def shared_curve(table: ScoreTable) -> Curve:
    """All outcomes of one threshold shared by all exits.

    As the threshold falls below a sample's score at exit k, the sample moves there from the next later exit whose
    score is a record, i.e. above the scores of all exits before it; exits whose score is no record are never taken.
    """
    costs = table.costs([0.0] * table.early)
    records = _records(table.scores)
    following = np.full(table.samples, table.early)
    rows = np.arange(table.samples)
    scores, correct, cost = [], [], []
    for k in reversed(range(table.early)):
        at = rows[records[k]]
        scores.append(table.scores[k, at])
        correct.append(table.correct[k, at].astype(np.int64) - table.correct[following[at], at])
        cost.append(costs[k] - costs[following[at]])
        following[at] = k
    joined = np.concatenate(scores)
    order = np.argsort(-joined, kind="stable")
    start = (int(table.correct[-1].sum()), float(costs[-1] * table.samples))
    return Steps.of(joined[order]).curve(np.concatenate(correct)[order], np.concatenate(cost)[order], start)


def _records(scores: Floats) -> Bools:
    """`[early, n]`: whether a score is above those of all earlier exits."""
    before = np.maximum.accumulate(scores, axis=0)[:-1]
    return np.concatenate([np.ones_like(scores[:1], dtype=bool), scores[1:] > before])
