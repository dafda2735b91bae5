"""How far probabilities mean what they say: reliability, calibration error, likelihood, Brier score."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from offramp.metrics.intervals import check_rows

BINS = 15


@dataclass(frozen=True)
class ReliabilityBin:
    """One bar of a reliability diagram.

    Attributes:
        low: lower end of the bin, not included (except 0).
        high: upper end, included.
        count: samples whose confidence falls into it.
        confidence: their mean confidence; None where there are none.
        accuracy: the share of them that is right; None where there are none.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


def reliability(logits: Tensor, labels: Tensor, bins: int = BINS) -> list[ReliabilityBin]:
    """Confidence (largest softmax probability) against accuracy in `bins` bins of equal width over [0, 1].

    Args:
        logits: `[n, classes]`, already divided by a temperature if one is wanted.
        labels: `[n]` class indices.
        bins: how many.

    Source: Guo et al. 2017, section 2.
    """
    check_rows(logits.shape[0], labels)
    confidence, predictions = logits.double().softmax(dim=1).max(dim=1)
    place = (confidence * bins).ceil().long().sub(1).clamp(0, bins - 1)
    counts = torch.bincount(place, minlength=bins).tolist()
    confident = torch.bincount(place, confidence, bins).tolist()
    right = torch.bincount(place, (predictions == labels).double(), bins).tolist()
    return [
        ReliabilityBin(i / bins, (i + 1) / bins, n, confident[i] / n if n else None, right[i] / n if n else None)
        for i, n in enumerate(counts)
    ]


def ece(logits: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Expected calibration error: `sum_b n_b / n * |accuracy_b - confidence_b|`, in [0, 1], 0 is best.

    Source: Guo et al. 2017, equation 3, with 15 bins of equal width.

    Example:
        >>> ece(torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1]))
        0.0
    """
    gap = 0.0
    for bar in reliability(logits, labels, bins):
        if bar.accuracy is not None and bar.confidence is not None:
            gap += bar.count * abs(bar.accuracy - bar.confidence)
    return gap / logits.shape[0]


def nll(logits: Tensor, labels: Tensor) -> float:
    """Mean negative log-likelihood of the labels in nats: `mean_i -ln softmax(logits_i)_label`."""
    check_rows(logits.shape[0], labels)
    return float(torch.nn.functional.cross_entropy(logits.double(), labels))


def brier(logits: Tensor, labels: Tensor) -> float:
    """Mean squared distance of the probabilities from the one-hot label, summed over classes: in [0, 2].

    Source: Brier 1950, in its original form for several classes (twice the two-class form).
    """
    check_rows(logits.shape[0], labels)
    error = logits.double().softmax(dim=1)
    error[torch.arange(labels.shape[0]), labels] -= 1
    return float(error.square().sum(dim=1).mean())
