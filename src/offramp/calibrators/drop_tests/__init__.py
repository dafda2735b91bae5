"""Tests of "this policy loses more than `points` against the full model", from paired counts.

On n independent samples let `worse` be the number on which the policy is wrong and the full model right, and
`better` the reverse. A p-value p is valid when `P(p <= u) <= u` for every u, whenever the loss is above `points`.

| test | hypothesis rejected | how |
|---|---|---|
| exact | drop `P(worse) - P(better) > points` | tail of the paired difference, maximised over the unknown `P(better)` |
| betting | the same | mixture of capital processes: an e-value |
| wsr | the same | adaptive bets: the upper bound (UCB) of Waudby-Smith and Ramdas |
| harm | `P(worse) > points` | binomial tail |
| hoeffding_bentkus | the same | two inequalities, for any loss in [0, 1] |

To add one: a file with a function of one of these signatures, an entry below, and its name in
`offramp.goals.loss_goal.DropTest`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from offramp.calibrators.drop_tests import betting, exact, harm, hoeffding_bentkus, wsr
from offramp.goals import DropTest

PValue = Callable[[int, int, int, float, float], float]
"""`(samples, worse, better, points, delta) -> p`; `delta` is the level it will be compared with."""

DROP_TESTS: dict[DropTest, PValue] = {
    "exact": exact.p_value,
    "betting": betting.p_value,
    "hoeffding_bentkus": hoeffding_bentkus.p_value,
    "harm": harm.p_value,
}

SequencePValue = Callable[[wsr.Differences, float, float], float]
"""`(paired differences [n], points, delta) -> p`."""

SEQUENCE_TESTS: dict[DropTest, SequencePValue] = {"wsr": wsr.p_value}
"""Tests that look at the samples one by one, and not at counts alone."""

SAMPLES_LIMIT = 2**40


def samples_needed(test: DropTest, points: float, delta: float) -> int | None:
    """Fewest samples on which a policy that never differs from the full model could be certified.

    For "harm" this is `ceil(ln(delta) / ln(1 - points))`. None where no number of samples is enough, as for
    `points = 0`.

    Example:
        >>> samples_needed("harm", 0.01, 0.05)
        299
    """
    if points <= 0:
        return None

    def enough(samples: int) -> bool:
        if test in SEQUENCE_TESTS:
            return SEQUENCE_TESTS[test](np.zeros(samples, dtype=np.int8), points, delta) <= delta
        return DROP_TESTS[test](samples, 0, 0, points, delta) <= delta

    high = 1
    while not enough(high):
        high *= 2
        if high > SAMPLES_LIMIT:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
