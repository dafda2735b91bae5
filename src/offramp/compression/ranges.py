"""The range of an activation from what it was on a few hundred samples: initialisers, pure functions of statistics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

POOL = 2**14
"""Values of each batch that are kept for quantiles, evenly spaced."""


@dataclass
class Seen:
    """What an activation has been so far.

    Attributes:
        lows: smallest value of each sample.
        highs: largest value of each sample.
        pool: values of all batches, thinned out.
    """

    lows: list[Tensor] = field(default_factory=list)
    highs: list[Tensor] = field(default_factory=list)
    pool: list[Tensor] = field(default_factory=list)

    def add(self, values: Tensor) -> None:
        """A batch `[n, ...]`."""
        rows = values.detach().float().flatten(1) if values.ndim > 1 else values.detach().float()[:, None]
        self.lows.append(rows.amin(1))
        self.highs.append(rows.amax(1))
        everything = rows.flatten()
        self.pool.append(everything[:: max(1, len(everything) // POOL)])


@dataclass(frozen=True)
class Percentiles:
    """Where quantile initialisers cut off, in percent."""

    low: float = 0.1
    high: float = 99.9


Range = tuple[float, float]


def min_max(seen: Seen, cut: Percentiles) -> Range:
    """Smallest and largest value of all samples."""
    return float(torch.cat(seen.lows).min()), float(torch.cat(seen.highs).max())


def mean_min_max(seen: Seen, cut: Percentiles) -> Range:
    """Means over samples of their smallest and largest values; single outliers count little."""
    return float(torch.cat(seen.lows).mean()), float(torch.cat(seen.highs).mean())


def three_sigma(seen: Seen, cut: Percentiles) -> Range:
    """Median plus and minus three standard deviations, these estimated by 1.4826 median absolute deviations.

    Never beyond the smallest and largest values; and these themselves where most values are the same.
    """
    values, (low, high) = torch.cat(seen.pool), min_max(seen, cut)
    middle = values.median()
    spread = 3 * 1.4826 * float((values - middle).abs().median())
    return (max(low, float(middle) - spread), min(high, float(middle) + spread)) if spread > 0 else (low, high)


def percentile(seen: Seen, cut: Percentiles) -> Range:
    """Quantiles of all values."""
    values = torch.cat(seen.pool).sort().values
    low, high = (values[round(share / 100 * (len(values) - 1))] for share in (cut.low, cut.high))
    return float(low), float(high)


def mean_percentile(seen: Seen, cut: Percentiles) -> Range:
    """Means over batches of their quantiles."""
    each = [percentile(Seen(pool=[values]), cut) for values in seen.pool]
    return sum(low for low, _ in each) / len(each), sum(high for _, high in each) / len(each)


INITIALISERS: dict[str, Callable[[Seen, Percentiles], Range]] = {
    "mean_min_max": mean_min_max,
    "min_max": min_max,
    "threesigma": three_sigma,
    "percentile": percentile,
    "mean_percentile": mean_percentile,
}
"""By the names that NNCF gives them."""
