"""Label oracles: what a criterion that knew the labels would decide. Upper bounds, and nothing to deploy.

Nothing that decides, calibrates or runs may import this module; a contract in `pyproject.toml` checks that.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

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


def label_gate(losses: Tensor, thresholds: Sequence[float]) -> Tensor:
    """`[n]` int64: the exits taken if a sample leaves where its cross-entropy **against its label** is below T.

    A sample then leaves only where p(label) > exp(-T): for T <= ln 2 whoever leaves is right, by construction.

    Args:
        losses: `[exits, n]`, cross-entropy in nats, earliest exit first.
        thresholds: T of each early exit; the final exit takes the rest.

    Source: Distiller's `earlyexit_validate_loss`, whose manual calls this the entropy.

    Example:
        >>> label_gate(torch.tensor([[0.1, 0.9], [0.2, 0.1]]), thresholds=[0.4])
        tensor([0, 1])
    """
    exits = torch.full(losses.shape[1:], len(losses) - 1)
    for k, threshold in reversed(list(enumerate(thresholds))):
        exits[losses[k] < threshold] = k
    return exits
