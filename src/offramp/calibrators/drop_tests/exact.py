r"""Exact test of the paired drop: the tail of `T = worse - better`, maximised over the unknown rates.

Let `p = P(worse)`, `q = P(better)`; the hypothesis is `p - q >= points`. The tail `F(t) = P(T <= t)` depends on both
rates. The p-value is Berger and Boos's:

    p_value = gamma + max { F(t; q + points, q) : 0 <= q <= Q },    Q = (U - points) / 2,

where U bounds the discordance `p + q` from above with confidence `1 - gamma` (Clopper-Pearson on `worse + better`).

*It is valid.* Under the hypothesis `2 q + points <= p + q`, so `q <= Q` except with probability gamma. More mass on 1
and less on 0 makes T larger in distribution, so `F(t; p, q) <= F(t; q + points, q)`, which the maximum covers when
`q <= Q`. Hence `P(p_value <= u) <= gamma + P(F(T; p, q) <= u - gamma) <= u`.

*The maximum is bounded, not sampled.* Cover [0, Q] by intervals [a, b]. For q in [a, b] the law with rates
`(a + points, b)` has less mass on 1 and more on -1, so T is smaller in distribution and its tail larger:
`F(t; q + points, q) <= F(t; a + points, b)`. The largest of these over the cover is used. Intervals grow with the
distance from Q, where the maximum lies in practice; a coarse cover costs power, never validity.

*The tail is computed exactly* by inverting the characteristic function `(1 - p - q + p e^{iw} + q e^{-iw})^n` with a
discrete Fourier transform over a window outside of which Bernstein's inequality leaves less than 1e-12; that, and
the rounding of doubles, is covered by SLACK.

Source: Berger and Boos 1994, "P values maximized over a confidence set for the nuisance parameter", for the form.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from offramp.binomial import upper_bound

Floats = npt.NDArray[np.floating[Any]]

NUISANCE_SHARE = 0.1
"""Part of delta that is spent on bounding the discordance."""
FINEST = 1 / 2000
GROWTH = 1.05
"""Of the intervals of the cover: 1.15 was measured to cost power from n = 20,000 on, 1.02 to gain none."""
SLACK = 1e-9
LOG_OUTSIDE = math.log(2e12)


def p_value(samples: int, worse: int, better: int, points: float, delta: float) -> float:
    """p-value of the hypothesis that the drop is above `points`; see the module's docstring.

    Example:
        >>> p_value(1000, 4, 2, 0.01, 0.05) < 0.05 < p_value(1000, 12, 2, 0.01, 0.05)
        True
    """
    first, tail = _largest_tail(samples, worse + better, points, delta)
    place = worse - better - first
    if place >= len(tail):
        return 1.0
    largest = float(tail[place]) if place >= 0 else 0.0
    return min(1.0, NUISANCE_SHARE * delta + largest + SLACK)


@lru_cache(maxsize=1024)
def _largest_tail(samples: int, discordant: int, points: float, delta: float) -> tuple[int, Floats]:
    """Bound on `P(T <= t)` over all rates of the hypothesis, for t from the first number returned on."""
    discordance = upper_bound(samples, discordant, NUISANCE_SHARE * delta)
    largest = min(max((discordance - points) / 2, 0.0), (1 - points) / 2)
    low, high = _cover(largest)
    return _tails(samples, points, low, high)


def _cover(largest: float) -> tuple[Floats, Floats]:
    """Lower and upper ends of intervals that cover [0, largest], finest at the top."""
    # Distances from the top as shares of it, so that their number does not depend on `largest`.
    distances = [0.0]
    while distances[-1] < 1:
        distances.append(min(1.0, distances[-1] * GROWTH + FINEST))
    ends = largest * (1 - np.array(distances))
    return ends[1:], ends[:-1]


def _tails(samples: int, points: float, low: Floats, high: Floats) -> tuple[int, Floats]:
    """First t of the window, and per t the largest `P(T <= t)` over the laws with rates `(low + points, high)`."""
    up, down = (low + points)[:, None], high[:, None]
    reach = _reach(samples * float((up + down).max()))
    middle = samples * (up - down)
    first = math.floor(float(middle.min()) - reach)
    size = 2 ** math.ceil(math.log2(float(middle.max()) + reach - first + 2))
    wave = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    law = 1 - up - down + up * wave + down * wave.conj()
    # The place of t in the window is t - first: a shift of the phase.
    shift = np.exp(2j * np.pi * (first * np.arange(size // 2 + 1) % size) / size)
    mass = np.fft.irfft(_power(law, samples) * shift, n=size, axis=1)
    return first, np.cumsum(mass, axis=1).max(axis=0).clip(0.0, 1.0)


def _power(base: npt.NDArray[np.complexfloating[Any]], exponent: int) -> npt.NDArray[np.complexfloating[Any]]:
    """`base ** exponent` by repeated squaring: numpy's own takes three times as long, and all but all of the test."""
    result, square = np.ones_like(base), base
    while exponent:
        if exponent % 2:
            result = result * square
        exponent //= 2
        square = square * square if exponent else square
    return result


def _reach(variance: float) -> float:
    """Distance from its mean that T exceeds with probability below exp(-LOG_OUTSIDE), by Bernstein's inequality."""
    linear = 2 * LOG_OUTSIDE / 3
    return linear + math.sqrt(linear**2 + 2 * LOG_OUTSIDE * variance)
