"""Exact binomial tail and the Clopper-Pearson bound, by log-gamma in double precision."""

from __future__ import annotations

import math
from functools import lru_cache

import torch

HALVINGS = 60


@lru_cache(maxsize=256)
def _log_ways(samples: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`0 .. count - 1` and `ln (samples choose each)`, in float64: the part of the tail that knows no rate."""
    successes = torch.arange(count, dtype=torch.float64)
    total = torch.lgamma(torch.tensor(samples + 1.0, dtype=torch.float64))
    return successes, total - torch.lgamma(successes + 1) - torch.lgamma(samples - successes + 1)


@lru_cache(maxsize=65536)
def lower_tail(samples: int, successes: int, rate: float) -> float:
    """`P(Bin(samples, rate) <= successes)`.

    Example:
        >>> round(lower_tail(2, 1, 0.5), 6)
        0.75
    """
    if successes >= samples or rate <= 0:
        return 1.0
    if successes < 0 or rate >= 1:
        return 0.0
    # Counts are rounded up, so that tails of one sample after the other share what they have in common.
    counted = min(2 ** successes.bit_length(), samples + 1)
    found, ways = (part[: successes + 1] for part in _log_ways(samples, counted))
    odds = math.log(rate) - math.log1p(-rate)
    return min(1.0, math.exp(samples * math.log1p(-rate) + float((ways + found * odds).logsumexp(0))))


@lru_cache(maxsize=4096)
def upper_bound(samples: int, successes: int, delta: float) -> float:
    """One-sided Clopper-Pearson bound: the true rate is above it with probability at most `delta`.

    The largest rate with `P(Bin(samples, rate) <= successes) >= delta`, found by bisection and rounded up.
    """
    if successes >= samples:
        return 1.0
    low, high = successes / samples, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if lower_tail(samples, successes, middle) >= delta:
            low = middle
        else:
            high = middle
    return high


def lower_bound(samples: int, successes: int, delta: float) -> float:
    """One-sided Clopper-Pearson bound: the true rate is below it with probability at most `delta`.

    Example:
        >>> lower_bound(100, 0, 0.05), round(lower_bound(100, 100, 0.05), 3)
        (0.0, 0.97)
    """
    return 1 - upper_bound(samples, samples - successes, delta)
