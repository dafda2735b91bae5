"""Whether a metric that does not hold yet still can, judged by how it has moved."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

LOOK_BACK = 3
"""Steps over which the fastest gain is looked for: one epoch alone may be noise."""
FEWEST = 3
"""Validations before anything is said."""


def projected(budgets: Sequence[float], epochs_left: float) -> float:
    """The budget if every epoch left gained as much as the best of the last few.

    A generous line: training gains ever less as it goes on, so what this rules out is out of reach.

    Args:
        budgets: one per validation at the same rate, an epoch apart, latest last; at least two.
        epochs_left: how many more there may be.

    Example:
        >>> projected([-9.0, -5.0, -4.0], epochs_left=1)
        0.0
    """
    recent = list(budgets[-LOOK_BACK - 1 :])
    gain = max(after - before for before, after in itertools.pairwise(recent))
    return budgets[-1] + max(gain, 0.0) * epochs_left


def hopeless(budgets: Sequence[float], epochs_left: float) -> bool:
    """Whether even that does not hold; never with fewer than three validations."""
    return len(budgets) >= FEWEST and projected(budgets, epochs_left) < 0
