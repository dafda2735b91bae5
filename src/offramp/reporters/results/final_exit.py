"""Whether training with exits cost the final exit its accuracy."""

from __future__ import annotations

from dataclasses import dataclass

from offramp.reporters.results.source import Source
from offramp.training import FinalExitCheck, History


@dataclass(frozen=True)
class FinalExit:
    """The final exit beside the backbone alone.

    Attributes:
        source: the validation split.
        check: what was found.
    """

    source: Source
    check: FinalExitCheck

    @classmethod
    def of(cls, history: History, seed: int | None, device: str) -> FinalExit | None:
        """From a history; None where the backbone alone was never looked at."""
        found = history.final_exit
        return None if found is None else cls(Source("validation", found.samples, seed, device), found)
