"""Failure prediction: can an exit tell its right answers from its wrong ones? Before and after a temperature.

Calibration error asks whether 80 % means 80 %. What an exit decision needs is another thing: that right answers score
above wrong ones (AUROC). A temperature repairs the first and, for one exit alone, cannot change the second where the
score is monotone in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from offramp.criteria import Criterion, MaxProbability
from offramp.errors import RecordingError
from offramp.metrics.intervals import check_rows
from offramp.metrics.probabilities import brier, ece, nll
from offramp.policy import Policy
from offramp.recording import Recording


@dataclass(frozen=True)
class ExitQuality:
    """What one exit knows of its own answers.

    Attributes:
        exit: its number, 0 = earliest.
        temperature: its logits were divided by.
        accuracy: share of right answers.
        ece: expected calibration error of the largest probability, in [0, 1], 0 is best.
        brier: see `brier`; 0 is best.
        nll: negative log-likelihood in nats; 0 is best.
        auroc: chance that a right answer scores above a wrong one; 0.5 is a coin. None where all are right, or wrong.
    """

    exit: int
    temperature: float
    accuracy: float
    ece: float
    brier: float
    nll: float
    auroc: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def exit_quality(
    recording: Recording, criterion: Criterion | None = None, temperatures: Sequence[float] | None = None
) -> list[ExitQuality]:
    """One row per exit; the last has the temperature 1.

    Args:
        recording: with labels.
        criterion: whose scores the AUROC is of; default `MaxProbability()`.
        temperatures: one per early exit, e.g. from `fit_temperatures` on another recording; None means 1.

    Raises:
        RecordingError: the recording has no labels.
        PolicyError: a temperature is not positive, or their number is not that of the early exits.

    Example:
        >>> r = Recording([[[2.0, 0.0], [0.0, 0.5]], [[1.0, 0.0], [1.0, 0.0]]], labels=[0, 0], macs=[10, 30])
        >>> [row.auroc for row in exit_quality(r)]
        [1.0, None]
    """
    labels = recording.required_labels
    # Refuses temperatures that do not fit; the last exit has none of its own.
    policy = Policy(criterion or MaxProbability(), [0.0] * (recording.exits - 1), temperatures)
    fixed = [*(policy.temperatures or [1.0] * (recording.exits - 1)), 1.0]
    policy.check(recording.exits - 1, recording.classes)
    wide = recording.logits.double()
    return [
        _quality(k, fixed[k], wide[k] / fixed[k], policy.score(k, wide[k], wide[:k].unbind()), labels)
        for k in range(recording.exits)
    ]


def _quality(exit: int, temperature: float, logits: Tensor, scores: Tensor, labels: Tensor) -> ExitQuality:
    right = logits.argmax(dim=-1) == labels
    return ExitQuality(
        exit=exit,
        temperature=temperature,
        accuracy=float(right.double().mean()),
        ece=ece(logits, labels),
        brier=brier(logits, labels),
        nll=nll(logits, labels),
        auroc=auroc(scores, right),
    )


def auroc(scores: Tensor, right: Tensor) -> float | None:
    """`P(score of a right answer > score of a wrong one) + P(equal) / 2`; None where there are none of a kind.

    Args:
        scores: `[n]`, larger = surer.
        right: `[n]` bool.

    Raises:
        RecordingError: another number of outcomes than of scores, or a score that is NaN.

    Source: Mann and Whitney 1947: the rank sum of the right answers, ties at their mean rank.

    Example:
        >>> auroc(torch.tensor([0.9, 0.5, 0.5, 0.1]), torch.tensor([True, True, False, False]))
        0.875
    """
    check_rows(len(scores), right)
    if scores.isnan().any():
        raise RecordingError(f"{int(scores.isnan().sum())} of {len(scores)} scores are NaN: they have no rank.")
    hits = int(right.sum())
    misses = len(scores) - hits
    if not hits or not misses:
        return None
    _, place, counts = torch.unique(scores, return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0) - (counts - 1) / 2).double()[place]
    return float((ranks[right].sum() - hits * (hits + 1) / 2) / (hits * misses))
