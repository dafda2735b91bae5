"""The best policies found so far, one for every number of correct answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from offramp.calibrators.scoring import Floats, Ints


class Pool:
    """Keeps, for every number of correct answers, the cheapest policy offered that has at least that many.

    Accuracy on n samples takes n + 1 values, so this array *is* the Pareto set, whatever the number of candidates;
    an offer of m candidates costs O(m + n).

    Args:
        samples: number of samples.
        early: number of early exits.
    """

    def __init__(self, samples: int, early: int) -> None:
        self.cost: Floats = np.full(samples + 1, np.inf)
        self.thresholds: Floats = np.full((samples + 1, early), np.inf)
        self._at_least: Floats = self.cost.copy()

    def offer(self, correct: Ints, cost: Floats, rows: Callable[[Ints], Floats]) -> int:
        """Takes in the candidates that no policy in the pool dominates.

        Args:
            correct: `[m]` number of correct answers.
            cost: `[m]` total MACs over the samples.
            rows: gives the thresholds `[k, early]` of the candidates with these indices `[k]`; only called for
                those that are better than what is known.

        Returns:
            How many were better.
        """
        better = np.flatnonzero(cost < self._at_least[correct])
        if not better.size:
            return 0
        # Of several assignments to one place the last remains, so the cheapest comes last.
        better = better[np.argsort(-cost[better], kind="stable")]
        self.cost[correct[better]] = cost[better]
        self.thresholds[correct[better]] = rows(better)
        self._at_least = np.minimum.accumulate(self.cost[::-1])[::-1]
        return int(better.size)

    def best(self, price: float) -> Floats:
        """Thresholds `[early]` of the policy with the largest `correct - price * cost`."""
        place = int(np.argmax(np.arange(len(self.cost)) - price * self.cost))
        return np.array(self.thresholds[place])

    def pareto(self) -> Ints:
        """Numbers of correct answers of the policies that no other dominates, ascending in accuracy and cost."""
        beyond = np.append(self._at_least[1:], np.inf)
        return np.flatnonzero(self.cost < beyond)
