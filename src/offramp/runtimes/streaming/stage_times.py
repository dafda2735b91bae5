"""How long a stage takes for how many rows: measured while it works, and rather too long than too short."""

from __future__ import annotations

import math

FORGETTING = 0.1
"""Share of the way that an estimate comes down at each measurement below it; it goes up at once."""


class StageTimes:
    """Estimates `t_k(n)`, growing with n. Sizes are the powers of two below `target`, and `target`.

    Between two sizes the larger one's time counts. A measurement also bounds its neighbours: fewer rows take no longer,
    and c times the rows take no longer than c times as long. So a single slow call at a size that is rare from then on
    is forgotten too.

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
        # At most this much for all the rows that this estimate stands for.
        most = seconds * self.sizes[place] / rows
        times[place] = max(seconds, min(times[place], times[place] + FORGETTING * (most - times[place])))
        for i, size in enumerate(self.sizes):
            if i < place:
                times[i] = min(times[i], times[place])
            else:
                times[i] = min(max(times[i], times[place]), times[place] * math.ceil(size / self.sizes[place]))
