"""The label oracle: what a criterion that knew the labels would decide. An upper bound, and nothing to deploy.

Nothing that decides, calibrates or runs may import this module; a contract in `pyproject.toml` checks that.
"""

from __future__ import annotations

import torch

from offramp.decisions import Decisions
from offramp.recording import Recording


def oracle(recording: Recording) -> Decisions:
    """Every sample leaves at the first exit that is right, and at the first exit of all where none is.

    No policy that answers with the exits' own logits is right more often, and none that is right as often costs less.

    Args:
        recording: with labels. The costs include every head passed on the way.

    Raises:
        RecordingError: the recording has no labels.

    Example:
        >>> r = Recording([[[2.0, 0.0]] * 3, [[0.0, 1.0]] * 3], labels=[1, 0, 1], macs=[10, 30])
        >>> oracle(r).exits, oracle(r).accuracy(r.labels)
        (tensor([1, 0, 1]), 1.0)
    """
    exits = recording.correct.int().argmax(dim=0)  # the first of equals, so 0 where none is right
    rows = torch.arange(recording.samples)
    costs = torch.tensor(recording.macs, dtype=torch.float64)
    return Decisions(recording.logits[exits, rows], exits, recording.exits, costs[exits])
