"""Test of the paired drop by betting: how much a gambler would have won against "the drop is above points".

With paired differences `d_i` in {-1, 0, 1} (1 where the policy is worse than the full model) and a bet
`l` in [0, 1 / (1 - points)), the capital `K(l) = prod_i (1 + l (points - d_i))` is never negative and has expectation
at most 1 when `E[d] >= points`. So has its mean over bets fixed in advance, and by Markov's inequality
`P(mean K >= 1 / u) <= u`: the p-value is `1 / mean_l K(l)`. The product depends on the counts of d only, so the order
of the samples does not matter.

Source: Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", section 4. Differs
in its bets: a fixed mixture, not bets that adapt to the samples seen so far, so that the order cannot matter.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch

BETS = 24
SMALLEST = 0.02
"""The best bet is about (points - drop) / P(d != 0): some hundredths for noisy exits, near 1 for harmless ones."""
MARGIN = 0.999


@lru_cache(maxsize=65536)
def p_value(samples: int, worse: int, better: int, points: float, delta: float) -> float:
    """`1 / mean_l K(l)`, at most 1; see the module's docstring.

    Example:
        >>> p_value(1000, 0, 0, 0.01, 0.05) < 0.01
        True
    """
    largest = MARGIN / (1 - points)
    bets = torch.logspace(math.log10(SMALLEST), math.log10(largest), BETS, dtype=torch.float64)
    same = samples - worse - better
    log_capital = (
        worse * torch.log1p(bets * (points - 1))
        + same * torch.log1p(bets * points)
        + better * torch.log1p(bets * (points + 1))
    )
    return math.exp(min(0.0, math.log(BETS) - float(log_capital.logsumexp(0))))
