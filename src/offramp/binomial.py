"""Exact binomial tail and the Clopper-Pearson bound, by log-gamma in double precision."""

from __future__ import annotations

import math
from functools import lru_cache

import torch

HALVINGS = 60


def log_mass(samples: int, successes: torch.Tensor, rate: float) -> torch.Tensor:
    """`ln P(Bin(samples, rate) = successes)` in float64, for a rate in (0, 1)."""
    total = torch.lgamma(torch.tensor(samples + 1.0, dtype=torch.float64))
    ways = total - torch.lgamma(successes + 1) - torch.lgamma(samples - successes + 1)
    return ways + successes * math.log(rate) + (samples - successes) * math.log1p(-rate)


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
    mass = log_mass(samples, torch.arange(successes + 1, dtype=torch.float64), rate)
    return min(1.0, math.exp(float(mass.logsumexp(0))))


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
