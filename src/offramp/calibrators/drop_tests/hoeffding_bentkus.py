"""Hoeffding-Bentkus test of harm: what Learn-then-Test uses for any loss in [0, 1]."""

from __future__ import annotations

import math

from offramp.binomial import lower_tail


def p_value(samples: int, worse: int, better: int, points: float, delta: float) -> float:
    """`min( exp(-n KL(worse / n, points)), e P(Bin(n, points) <= worse) )`, for the hypothesis `P(worse) > points`.

    The first term is Hoeffding's inequality, the second Bentkus's. For a loss of 0 or 1, as harm is, the binomial tail
    itself is a p-value and never larger ("harm"): this one is here to compare with.

    Source: Angelopoulos et al. 2021, "Learn then Test", proposition 2 (from Bates et al. 2021).

    Example:
        >>> p_value(1000, 2, 0, 0.01, 0.05) < 0.05
        True
    """
    if samples == 0:
        return 1.0
    return min(
        1.0, math.exp(-samples * _divergence(worse / samples, points)), math.e * lower_tail(samples, worse, points)
    )


def _divergence(seen: float, rate: float) -> float:
    """Kullback-Leibler divergence of two Bernoulli laws, `seen` from `rate`, in nats; 0 where `seen` is above."""
    if seen >= rate:
        return 0.0
    below = seen * math.log(seen / rate) if seen else 0.0
    return below + (1 - seen) * math.log((1 - seen) / (1 - rate))
