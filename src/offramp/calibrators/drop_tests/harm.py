"""Exact binomial test of harm: the probability that the policy is wrong where the full model is right."""

from __future__ import annotations

from offramp.binomial import lower_tail


def p_value(samples: int, worse: int, better: int, points: float, delta: float) -> float:
    """`P(Bin(samples, points) <= worse)`: the p-value of the hypothesis `P(worse) > points`.

    Valid because the binomial tail falls in the rate. Harm bounds the drop from above, so a certificate on harm is
    one on the drop too, but gives no credit for the samples that the early exit gets right (`better` is ignored).

    Example:
        >>> p_value(299, 0, 0, 0.01, 0.05) <= 0.05
        True
    """
    return lower_tail(samples, worse, points)
