"""Figures of exits and policies: accuracy, drop and harm, calibration error, and intervals for shares.

Pure functions of logits and labels, of a `Recording`, or of `Decisions`. What nobody took is None (n/a), never 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from offramp.decisions import Decisions
from offramp.errors import RecordingError
from offramp.recording import Recording

BINS = 15


@dataclass(frozen=True)
class ExitRow:
    """What one exit did under a policy.

    Attributes:
        exit: its number, 0 = earliest.
        count: samples that left here.
        share: of all samples.
        accuracy: among those who left here; None (n/a) where nobody did.
        interval: Wilson interval of the accuracy at 95 %; None where nobody left.
    """

    exit: int
    count: int
    share: float
    accuracy: float | None
    interval: tuple[float, float] | None


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


def accuracy_per_exit(recording: Recording) -> Tensor:
    """`[exits]` float64: accuracy if every sample left there (the static baselines).

    Raises:
        RecordingError: the recording has no labels.
    """
    return recording.correct.double().mean(dim=1)


def exit_rows(decisions: Decisions, labels: Tensor) -> list[ExitRow]:
    """Count, share and accuracy of every exit among the samples that took it.

    Args:
        decisions: of n samples.
        labels: `[n]` class indices.

    Raises:
        RecordingError: another number of labels than samples.
    """
    _check_rows(len(decisions), labels)
    right = decisions.predictions == labels
    return [_row(k, right[decisions.exits == k], len(decisions)) for k in range(decisions.exit_count)]


def _row(exit: int, right: Tensor, samples: int) -> ExitRow:
    count, hits = right.numel(), int(right.sum())
    if not count:
        return ExitRow(exit, 0, 0.0, None, None)
    return ExitRow(exit, count, count / samples, hits / count, wilson(hits, count))


def drop(decisions: Decisions, recording: Recording) -> float:
    """Accuracy lost against the plain network, a share: positive where the policy is worse.

    Raises:
        RecordingError: no labels, or decisions on other samples.
    """
    worse, better = paired_counts(decisions, recording)
    return (worse - better) / recording.samples


def harm(decisions: Decisions, recording: Recording) -> int:
    """Number of samples that the policy gets wrong and the plain network right.

    Raises:
        RecordingError: no labels, or decisions on other samples.
    """
    return paired_counts(decisions, recording)[0]


def paired_counts(decisions: Decisions, recording: Recording) -> tuple[int, int]:
    """`(worse, better)`: samples that only the plain network gets right, and that only the policy gets right.

    Raises:
        RecordingError: no labels, or decisions on other samples.
    """
    labels = recording.required_labels
    _check_rows(len(decisions), labels)
    policy = decisions.predictions == labels
    plain = recording.logits[-1].argmax(dim=-1) == labels
    return int((plain & ~policy).sum()), int((policy & ~plain).sum())


def reliability(logits: Tensor, labels: Tensor, bins: int = BINS) -> list[ReliabilityBin]:
    """Confidence (largest softmax probability) against accuracy in `bins` bins of equal width over [0, 1].

    Args:
        logits: `[n, classes]`, already divided by a temperature if one is wanted.
        labels: `[n]` class indices.
        bins: how many.

    Source: Guo et al. 2017, section 2.
    """
    _check_rows(logits.shape[0], labels)
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
    _check_rows(logits.shape[0], labels)
    return float(torch.nn.functional.cross_entropy(logits.double(), labels))


def brier(logits: Tensor, labels: Tensor) -> float:
    """Mean squared distance of the probabilities from the one-hot label, summed over classes: in [0, 2].

    Source: Brier 1950, in its original form for several classes (twice the two-class form).
    """
    _check_rows(logits.shape[0], labels)
    error = logits.double().softmax(dim=1)
    error[torch.arange(labels.shape[0]), labels] -= 1
    return float(error.square().sum(dim=1).mean())


def wilson(successes: int, samples: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval for a share of `successes` out of `samples` independent draws.

    `(p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)`

    Args:
        successes: 0 to `samples`.
        samples: at least 1.
        level: coverage, in (0, 1).

    Raises:
        RecordingError: the counts or the level are impossible.

    Example:
        >>> [round(end, 4) for end in wilson(5, 10)]
        [0.2366, 0.7634]
    """
    if samples < 1 or not 0 <= successes <= samples or not 0 < level < 1:
        raise RecordingError(
            f"wilson({successes}, {samples}, level={level}): there must be 0 <= successes <= samples, at least one "
            "sample, and a level between 0 and 1."
        )
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, extra = successes / samples, z * z / samples
    middle = share + extra / 2
    half = z * math.sqrt(share * (1 - share) / samples + extra / (4 * samples))
    # At the ends the formula gives 0 and 1 up to rounding; the interval must contain the share.
    low = 0.0 if successes == 0 else (middle - half) / (1 + extra)
    high = 1.0 if successes == samples else (middle + half) / (1 + extra)
    return low, high


def _check_rows(rows: int, labels: Tensor) -> None:
    if labels.shape != (rows,):
        raise RecordingError(
            f"There are {rows} samples and labels of shape {list(labels.shape)}; give one class index per sample, "
            "of the same samples in the same order."
        )
