"""`offramp advise`: which criterion for which goal, and whether exits pay at all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from offramp.cli.options import Common
from offramp.cli.train import List


def advise(
    target: Path,
    /,
    *,
    criteria: List = None,
    drop: float = 0.01,
    delta: float = 0.05,
    agreement: float = 0.98,
    budget: float = 0.5,
    folds: Annotated[int, Parameter(negative=())] = 4,
    common: Common = Common(),  # noqa: B008 - frozen, so sharing it is safe
) -> None:
    """Compare criteria and goals on recorded samples, with intervals, and say whether exits pay.

    Every pair chooses its thresholds on all folds of the recording but one, and is judged on that one. Its gain is its
    accuracy above that of the exits used alone, mixed at random, at the same mean MACs. Nothing is written; the test
    split is not touched. The exit code is 0 whatever the advice is.

    Args:
        target: run folder of `offramp train` (its calibration recording, temperatures from its validation recording),
            or a recording file.
        criteria: names to compare; by default all that need no parameters.
        drop: a largest drop of accuracy, a share: asked for empirically and certified.
        delta: probability with which the certificate may be wrong.
        agreement: a least share of samples with the full network's answer.
        budget: mean MACs as a share of the plain network's.
        folds: in how many parts the samples are judged.
        common: options of every command; --seed is of folds and resampling.
    """
    from offramp.cli.session import Session
    from offramp.cli.steps import advising

    session = Session(common)
    asked = advising.Asked(tuple(criteria or ()), drop, delta, agreement, budget, folds, common.seed or 0)
    session.deliver(advising.advise(target, asked, session))
