"""Whether exits that were really taken are those that the recording foretold."""

from __future__ import annotations

from dataclasses import dataclass

from offramp.decisions import Decisions
from offramp.reporters.results.source import Source


@dataclass(frozen=True)
class Agreement:
    """The deployed runtime against `simulate`, sample by sample.

    Attributes:
        source: where the numbers come from.
        same_exit: samples that took the same exit.
        same_prediction: samples with the same prediction.
        largest_difference: between the two logits of a sample that took the same exit; None where none did.
    """

    source: Source
    same_exit: int
    same_prediction: int
    largest_difference: float | None

    @classmethod
    def of(cls, taken: Decisions, simulated: Decisions, source: Source) -> Agreement:
        """Compares decisions on the same samples in the same order."""
        same = taken.exits == simulated.exits
        gap = (taken.logits - simulated.logits).abs()[same]
        return cls(
            source=source,
            same_exit=int(same.sum()),
            same_prediction=int((taken.predictions == simulated.predictions).sum()),
            largest_difference=float(gap.max()) if gap.numel() else None,
        )
