"""One criterion for one goal: chosen on all folds but one, judged on that one, until every sample was judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from offramp.calibrators import Infeasible, calibrate
from offramp.calibrators.scoring import Bools, Floats
from offramp.criteria import Criterion
from offramp.goals import Goal
from offramp.recording import Recording, simulate


@dataclass(frozen=True, eq=False)
class Crossed:
    """What a way of choosing does on samples that did not choose.

    Attributes:
        criterion: what scores.
        goal: what was asked for.
        right: `[n]`, whether each sample is answered rightly.
        macs: `[n]`, spent on each.
        infeasible: in how many folds the goal was not reached; the best there is was judged then.
    """

    criterion: Criterion
    goal: Goal
    right: Bools
    macs: Floats
    infeasible: int


def cross(
    recording: Recording, criterion: Criterion, goal: Goal, tuning: Recording | None, folds: Sequence[Tensor]
) -> Crossed:
    """Calibrates once per fold.

    Args:
        recording: with labels.
        criterion: what scores.
        goal: what to reach.
        tuning: see `calibrate`.
        folds: indices that together are all samples, each once.
    """
    right = np.zeros(recording.samples, dtype=bool)
    macs = np.zeros(recording.samples)
    infeasible = 0
    for held in folds:
        others = torch.ones(recording.samples, dtype=torch.bool)
        others[held] = False
        result = calibrate(recording.take(others), criterion, goal, tuning=tuning)
        infeasible += isinstance(result, Infeasible)
        judged = recording.take(held)
        decisions = simulate(judged, result.best if isinstance(result, Infeasible) else result.policy)
        right[held] = (decisions.predictions == judged.required_labels).numpy()
        macs[held] = np.nan if decisions.macs is None else decisions.macs.numpy()
    return Crossed(criterion, goal, right, macs, infeasible)
