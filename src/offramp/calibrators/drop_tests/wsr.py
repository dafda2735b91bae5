r"""Test of the paired drop by adaptive betting: the upper confidence bound of Waudby-Smith and Ramdas, inverted.

With paired differences `d_i` in {-1, 0, 1}, `y_i = (1 + d_i) / 2` and `m = (1 + points) / 2`, the capital
`K_t = prod_{i <= t} (1 + l_i (m - y_i))` is a supermartingale when `E[y] >= m`, if each bet `l_i` in [0, 1 / (1 - m))
depends on earlier samples only. By Ville's inequality `P(max_t K_t >= 1 / u) <= u`: the p-value is `1 / max_t K_t`, and
the bound `UCB = min{points : p <= delta}` exceeds the drop with probability at least 1 - delta.

    l_i = min( sqrt(2 ln(1 / delta) / (n s_{i-1}^2)), 1/2 / (1 - m) ),   s_i^2 the variance so far, from 1/4 on

Bets adapt to the order of the samples. A recording may be sorted, so samples are bet on in an order that is drawn with
a fixed seed, by their places and not by their outcomes: independent samples stay independent in it.

Source: Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", theorem 3 and equation
26 (predictable plug-in), as used for risk control by Bates et al. 2021. Differs in testing one side only.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Differences = npt.NDArray[np.integer[Any]]

SEED = 20240101
TRUNCATION = 0.5


def p_value(differences: Differences, points: float, delta: float) -> float:
    """`1 / max_t K_t`, at most 1; see the module's docstring.

    Args:
        differences: `[n]`, 1 where the policy is worse, -1 where it is better, 0 elsewhere.
        points: drop to test.
        delta: level that the bets aim at.

    Example:
        >>> p_value(np.zeros(1000, dtype=np.int8), 0.02, 0.05) < 0.05
        True
    """
    mean = (1 + points) / 2
    seen = (1 + differences[_order(len(differences))]) / 2
    spread = len(seen) * _variance_before(seen)
    bets = np.minimum(np.sqrt(2 * math.log(1 / delta) / spread), TRUNCATION / (1 - mean))
    capital = np.log1p(bets * (mean - seen)).cumsum()
    return math.exp(min(0.0, -float(capital.max(initial=0.0))))


@lru_cache(maxsize=16)
def _order(samples: int) -> npt.NDArray[np.int64]:
    """The order in which samples are bet on."""
    return np.random.default_rng(SEED).permutation(samples)


def _variance_before(seen: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Regularised variance of the samples before each one: 1/4 before the first."""
    count = np.arange(1, len(seen) + 1)
    mean = (0.5 + seen.cumsum()) / (count + 1)
    variance = (0.25 + np.square(seen - mean).cumsum()) / (count + 1)
    return np.append(0.25, variance[:-1])
