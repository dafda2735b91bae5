"""Figures of a policy: what left where, how right it was, and what was lost against the full network."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from offramp.decisions import Decisions
from offramp.metrics.intervals import check_rows, wilson
from offramp.recording import Recording


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
    check_rows(len(decisions), labels)
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
    check_rows(len(decisions), labels)
    policy = decisions.predictions == labels
    plain = recording.logits[-1].argmax(dim=-1) == labels
    return int((plain & ~policy).sum()), int((policy & ~plain).sum())
