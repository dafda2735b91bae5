"""How long a stage takes for how many rows: measured while it works, and rather more than the mean."""

from __future__ import annotations

import math

RISE, FALL = 0.3, 0.1
"""Share of the way that an estimate goes to a measurement above it, and to one below it."""


class StageTimes:
    """Estimates `t_k(n)`, growing with n. Sizes are the powers of two below `target`, and `target`.

    Between two sizes the larger one's time counts. A measurement also bounds its neighbours: fewer rows take no longer,
    and c times the rows take no longer than c times as long. So slow calls at a size that is rare from then on are
    forgotten too.

    Args:
        stages: how many there are.
        target: the largest number of rows that is asked for.

    Example:
        >>> times = StageTimes(stages=1, target=4)
        >>> times.learn(stage=0, rows=4, seconds=0.2)
        >>> times.learn(stage=0, rows=1, seconds=0.1)
        >>> times.seconds(0, 1), times.seconds(0, 3)
        (0.1, 0.2)
    """

    def __init__(self, stages: int, target: int) -> None:
        self.sizes = (*(2**i for i in range((target - 1).bit_length())), target)
        self._times = [[0.0] * len(self.sizes) for _ in range(stages)]

    def seconds(self, stage: int, rows: int) -> float:
        """The estimate; 0 before anything was measured.

        Args:
            stage: which one.
            rows: 1 to `target`.
        """
        return self._times[stage][(rows - 1).bit_length()]

    def learn(self, stage: int, rows: int, seconds: float) -> None:
        """Takes a measurement in.

        Args:
            stage: which one.
            rows: how many it ran on, 1 to `target`.
            seconds: how long that took.
        """
        times, place = self._times[stage], (rows - 1).bit_length()
        times[place] = self._learned(times[place], seconds, self.sizes[place] / rows)
        for i, size in enumerate(self.sizes):
            if i < place:
                times[i] = min(times[i], times[place])
            else:
                times[i] = min(max(times[i], times[place]), times[place] * math.ceil(size / self.sizes[place]))

    @staticmethod
    def _learned(known: float, seconds: float, times_as_many: float) -> float:
        """The new estimate of a size, from a measurement on fewer rows, perhaps."""
        most = seconds * times_as_many
        if known == 0:
            return most
        if seconds > known:
            return known + RISE * (seconds - known)
        return min(known, known + FALL * (most - known))
