"""Whether exits cost the final exit its accuracy, and whether a backbone that should be trained is."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from offramp.errors import RecordingError
from offramp.metrics import paired_difference, wilson
from offramp.recording import Recording

LEVEL = 0.95


@dataclass(frozen=True)
class FinalExitCheck:
    """The final exit beside the backbone alone, on the same samples.

    Attributes:
        alone: accuracy of the backbone alone, share in [0, 1].
        after: accuracy of the final exit after training with exits.
        low: lower end of the interval for `after - alone`.
        high: its upper end.
        samples: how many both saw.
        level: coverage of the interval.
    """

    alone: float
    after: float
    low: float
    high: float
    samples: int
    level: float = LEVEL

    @property
    def worse(self) -> bool:
        """Whether the final exit lost more than the interval explains."""
        return self.high < 0

    @classmethod
    def of(cls, alone: Tensor, after: Tensor, level: float = LEVEL) -> FinalExitCheck:
        """From whether each sample is classified rightly.

        Args:
            alone: `[n]` bool, by the backbone alone.
            after: `[n]` bool, by the final exit; the same samples in the same order.
            level: coverage of the interval, in (0, 1).

        Raises:
            RecordingError: no samples, or not equally many.
        """
        if alone.shape != after.shape or alone.ndim != 1 or not len(alone):
            raise RecordingError(
                f"Final exits can be compared on the same samples only; got {list(alone.shape)} and "
                f"{list(after.shape)}."
            )
        n = len(alone)
        lost, won = int((alone & ~after).sum()), int((~alone & after).sum())
        low, high = paired_difference(lost, won, n, level)
        return cls(float(alone.sum()) / n, float(after.sum()) / n, low, high, n, level)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FinalExitCheck:
        """Inverse of `to_dict`."""
        return cls(**data)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def sentence(self) -> str:
        """What was found, for people."""
        change = 100 * (self.after - self.alone)
        found = "worse than" if self.worse else ("better than" if self.low > 0 else "no different from")
        return (
            f"The final exit is {found} the backbone alone: {100 * self.after:.2f} % against {100 * self.alone:.2f} %, "
            f"{change:+.2f} points [{100 * self.low:+.2f}, {100 * self.high:+.2f}] on {self.samples} samples."
        )


def check_final_exit(alone: Recording, after: Recording, level: float = LEVEL) -> FinalExitCheck:
    """Whether training with exits made the final exit worse than the backbone alone.

    Args:
        alone: of a model whose final exit is the backbone alone, such as one trained with `BackboneAlone`.
        after: of the model trained with exits; the same samples in the same order, held out from both trainings.
        level: coverage of the interval for the difference.

    Raises:
        RecordingError: no labels, or the recordings are of different samples.

    Example:
        >>> plain = Recording([[[0.0, 1.0]] * 4], labels=[1, 1, 1, 0], macs=[10])
        >>> check_final_exit(plain, plain).worse
        False
    """
    if not alone.required_labels.equal(after.required_labels):
        raise RecordingError("The recordings have different labels: record both models on the same samples.")
    return FinalExitCheck.of(alone.correct[-1], after.correct[-1], level)


def warn_of_chance(correct: Tensor, labels: Tensor, phase: str) -> None:
    """Warns where a backbone that should be trained predicts no better than the commonest class.

    Args:
        correct: `[n]` bool, of the final exit.
        labels: `[n]`.
        phase: that builds on the backbone.
    """
    commonest = float(labels.bincount().max()) / len(labels)
    hits, n = int(correct.sum()), len(correct)
    if wilson(hits, n)[0] > commonest:
        return
    warnings.warn(
        f"Phase '{phase}' builds on a trained backbone, and this one is right on {100 * hits / n:.1f} % of {n} "
        f"samples; always answering the commonest class gives {100 * commonest:.1f} %. Load trained weights before "
        "attach, or let the regime train the backbone first (first=...).",
        stacklevel=2,
    )
