"""Losses of exits that answer together: each exit's answer is the ensemble of all exits up to it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from offramp.criteria import Criterion, GeometricEnsemble
from offramp.regimes.losses import FIRST, ExitLoss, Losses, Step, WeightedCrossEntropy


@dataclass(frozen=True)
class EnsembleCrossEntropy(ExitLoss):
    """The weighted cross-entropy of the ensembles' answers.

    Args:
        inner: gives the weights and the label smoothing.
    """

    inner: WeightedCrossEntropy

    @abstractmethod
    def answers(self, logits: Sequence[Tensor]) -> Sequence[Tensor]:
        """The ensembles' logits."""

    def __call__(self, logits: Sequence[Tensor], labels: Tensor, step: Step = FIRST) -> Losses:
        """See `ExitLoss`."""
        return self.inner(self.answers(logits), labels, step)

    def criterion(self) -> Criterion:
        """The geometric ensemble, whose answer is that of the mean of log-probabilities, and of the sum of logits."""
        return GeometricEnsemble()

    def check(self, exits: int) -> None:
        """See `ExitLoss.check`."""
        self.inner.check(exits)
