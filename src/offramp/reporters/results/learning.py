"""How training went, by validation accuracy of every exit."""

from __future__ import annotations

from dataclasses import dataclass

from offramp.reporters.results.source import Source
from offramp.training import History


@dataclass(frozen=True)
class Learning:
    """A training run.

    Attributes:
        source: the validation split.
        accuracy: `[epochs][exits]`, on all samples of the split.
        best_epoch: counted from 1; the one whose weights were kept, None where the last ones were.
        seconds: wall time of all epochs.
    """

    source: Source
    accuracy: tuple[tuple[float, ...], ...]
    best_epoch: int | None
    seconds: float

    @classmethod
    def of(cls, history: History, seed: int | None, device: str) -> Learning | None:
        """From a history; None where nothing was validated."""
        scores = [row.val for row in history.rows if row.val is not None]
        if not scores:
            return None
        return cls(
            source=Source("validation", scores[-1].samples, seed, device),
            accuracy=tuple(score.accuracy for score in scores),
            best_epoch=history.best_epoch,
            seconds=history.seconds,
        )
