"""Intervals for shares, and a check that labels belong to their samples."""

from __future__ import annotations

import math
from statistics import NormalDist

from torch import Tensor

from offramp.errors import RecordingError


def wilson(successes: int, samples: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval for a share of `successes` out of `samples` independent draws.

    `(p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)`

    Args:
        successes: 0 to `samples`.
        samples: at least 1.
        level: coverage, in (0, 1).

    Raises:
        RecordingError: the counts or the level are impossible.

    Example:
        >>> [round(end, 4) for end in wilson(5, 10)]
        [0.2366, 0.7634]
    """
    if samples < 1 or not 0 <= successes <= samples or not 0 < level < 1:
        raise RecordingError(
            f"wilson({successes}, {samples}, level={level}): there must be 0 <= successes <= samples, at least one "
            "sample, and a level between 0 and 1."
        )
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, extra = successes / samples, z * z / samples
    middle = share + extra / 2
    half = z * math.sqrt(share * (1 - share) / samples + extra / (4 * samples))
    # At the ends the formula gives 0 and 1 up to rounding; the interval must contain the share.
    low = 0.0 if successes == 0 else (middle - half) / (1 + extra)
    high = 1.0 if successes == samples else (middle + half) / (1 + extra)
    return low, high


def paired_difference(lost: int, won: int, samples: int, level: float = 0.95) -> tuple[float, float]:
    """Interval for the difference of two accuracies on the same samples, the second minus the first.

    With `p = (lost + 1) / (n + 2)`, `q = (won + 1) / (n + 2)`: `q - p +- z sqrt((p + q - (q - p)^2) / (n + 2))`.

    Source: Bonett and Price 2012, the adjusted Wald interval for paired proportions.

    Args:
        lost: samples that only the first has right.
        won: samples that only the second has right.
        samples: n, at least 1.
        level: coverage, in (0, 1).

    Raises:
        RecordingError: the counts or the level are impossible.

    Example:
        >>> [round(end, 4) for end in paired_difference(0, 0, 100)]
        [-0.0272, 0.0272]
    """
    if samples < 1 or lost < 0 or won < 0 or lost + won > samples or not 0 < level < 1:
        raise RecordingError(
            f"paired_difference({lost}, {won}, {samples}, level={level}): counts are at least 0 and not more than the "
            "samples, of which there is at least one, and the level is between 0 and 1."
        )
    p, q = (lost + 1) / (samples + 2), (won + 1) / (samples + 2)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    half = z * math.sqrt((p + q - (q - p) ** 2) / (samples + 2))
    return max(q - p - half, -1.0), min(q - p + half, 1.0)


def check_rows(rows: int, labels: Tensor) -> None:
    """Refuses labels of another number of samples.

    Raises:
        RecordingError: another number of labels than rows.
    """
    if labels.shape != (rows,):
        raise RecordingError(
            f"There are {rows} samples and labels of shape {list(labels.shape)}; give one class index per sample, "
            "of the same samples in the same order."
        )
