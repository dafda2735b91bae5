"""What was gained, in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass

from offramp.decisions import Decisions
from offramp.metrics import paired_counts, wilson
from offramp.recording import Recording
from offramp.reporters.results.source import Source


@dataclass(frozen=True)
class Headline:
    """The policy against the plain network on the same samples.

    Attributes:
        source: where the numbers come from.
        plain_accuracy: share of samples that the network without exits answers correctly.
        accuracy: the same with exits.
        interval: Wilson interval of `accuracy` at 95 %, `(low, high)`.
        drop: `plain_accuracy - accuracy`; positive where exits cost accuracy.
        worse: number of samples that only the plain network gets right.
        better: number of samples that only the exits get right.
        plain_macs: MACs of the network without exits or heads.
        mean_macs: mean MACs per sample with exits, heads included.
        macs_share: `mean_macs / plain_macs`.
    """

    source: Source
    plain_accuracy: float
    accuracy: float
    interval: tuple[float, ...]
    drop: float
    worse: int
    better: int
    plain_macs: float
    mean_macs: float
    macs_share: float

    @classmethod
    def of(cls, recording: Recording, decisions: Decisions) -> Headline:
        """From a recording and what a policy decided on the same samples in the same order."""
        labels = recording.required_labels
        worse, better = paired_counts(decisions, recording)
        right = int((decisions.predictions == labels).sum())
        return cls(
            source=Source.of(recording),
            plain_accuracy=float(recording.correct[-1].double().mean()),
            accuracy=right / recording.samples,
            interval=wilson(right, recording.samples),
            drop=(worse - better) / recording.samples,
            worse=worse,
            better=better,
            plain_macs=recording.plain_macs,
            mean_macs=decisions.mean_macs,
            macs_share=decisions.mean_macs / recording.plain_macs,
        )
