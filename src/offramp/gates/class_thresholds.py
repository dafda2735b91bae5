"""A threshold per class: classes that an exit confuses must be surer than the others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from offramp.criteria import ClassThresholds, Criterion
from offramp.errors import CalibrationError
from offramp.gates.lessons import check_recording
from offramp.policy import Policy
from offramp.recording import Recording

FEWEST = 20
"""Predictions of a class below which its threshold is that of all classes together."""


def train_class_thresholds(
    recording: Recording,
    criterion: Criterion,
    *,
    agreement: float = 0.95,
    temperatures: Sequence[float] | None = None,
) -> ClassThresholds:
    """Finds, for each class, the lowest score above which predictions of it agree with the last exit often enough.

    All early exits are taken together. It needs no labels. In a policy, the thresholds `[0.0, 0.0, ...]` let rows leave
    at the agreement asked for, on this recording; `calibrate` moves them for a goal.

    Args:
        recording: of held-out samples.
        criterion: what scores.
        agreement: share of the rows above the threshold that must agree, in (0, 1).
        temperatures: of the policy that is to use it, one per early exit; None means 1.

    Raises:
        CalibrationError: no early exit, the test split, or an agreement outside (0, 1).
        PolicyError: the criterion is not for so many exits or classes.

    Example:
        >>> from offramp.criteria import MaxProbability
        >>> logits = torch.randn(2, 300, 3, generator=torch.Generator().manual_seed(0))
        >>> len(train_class_thresholds(Recording(logits, None, macs=[1, 2]), MaxProbability()).values)
        3
    """
    check_recording(recording, "train_class_thresholds")
    if not 0 < agreement < 1:
        raise CalibrationError(f"train_class_thresholds(agreement={agreement}): give a share between 0 and 1.")
    scores, predicted, agrees = _pooled(recording, criterion, temperatures)
    everywhere = _lowest(scores, agrees, agreement)
    of_class = [predicted == c for c in range(recording.classes)]
    values = [_lowest(scores[m], agrees[m], agreement) if int(m.sum()) >= FEWEST else everywhere for m in of_class]
    return ClassThresholds(criterion, tuple(values))


def _pooled(
    recording: Recording, criterion: Criterion, temperatures: Sequence[float] | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, predictions and agreement `[early * n]` of all early exits that let somebody leave."""
    early = recording.exits - 1
    policy = Policy(criterion, [0.0] * early, temperatures)
    policy.check(early, recording.classes)
    answers = recording.answers(policy).argmax(dim=-1)
    exits = [k for k in range(early) if criterion.opens(k)]
    scores = [policy.score(k, recording.logits[k], recording.logits[:k].unbind()) for k in exits]
    return torch.cat(scores).double(), answers[exits].flatten(), (answers[exits] == answers[-1]).flatten()


def _lowest(scores: Tensor, agrees: Tensor, agreement: float) -> float:
    """The lowest threshold above which the share of agreement is kept; the highest score where there is none."""
    ordered, order = scores.sort(descending=True, stable=True)
    share = agrees[order].double().cumsum(0) / torch.arange(1, len(order) + 1)
    # Equal scores leave together: only the last of them can be the last that leaves.
    ends = torch.cat([ordered[1:] < ordered[:-1], torch.tensor([True])])
    kept = ((share >= agreement) & ends & ordered.isfinite()).nonzero().flatten()
    if not len(kept):
        return float(ordered[0])
    last = int(kept[-1])
    below = ordered[last + 1] if last + 1 < len(ordered) and bool(ordered[last + 1].isfinite()) else ordered[last] - 1
    return float((ordered[last] + below) / 2)
