"""Boosted training (BoostNet): every exit learns what the exits before it leave over."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from offramp.regimes.ensembling import EnsembleCrossEntropy
from offramp.regimes.joint import JOINT
from offramp.regimes.losses import on_cross_entropy
from offramp.regimes.phase import Phase
from offramp.regimes.regime import Regime, Wrapping, register


@dataclass(frozen=True)
class BoostedCrossEntropy(EnsembleCrossEntropy):
    """The weighted cross-entropy of `F_n = z_n + detached F_(n-1)`, z_n the logits of exit n."""

    def answers(self, logits: Sequence[Tensor]) -> Sequence[Tensor]:
        """The sums F_n."""
        return [own + before for own, before in zip(logits, self._before(logits), strict=True)]

    def _before(self, logits: Sequence[Tensor]) -> list[Tensor]:
        sums = itertools.accumulate((own.detach() for own in logits), operator.add)
        return [logits[0].new_zeros(()), *sums][: len(logits)]


@register
@dataclass(frozen=True)
class Boosted(Wrapping):
    """Exit n learns to correct the sum of the logits of the exits before it, which get no gradient from it.

    The exits answer with the sums, so take exits with the criterion `geometric_ensemble`, whose prediction is that of
    the sum; accuracies in the history are those of the sums.

    Args:
        base: the regime whose weighted cross-entropies are of the sums instead.

    Source: Yu et al. 2023 (Boosted Dynamic Neural Networks), section 3. Differs in that the logits are summed as they
    are, without temperature and without rescaled gradients; wrap it in `GradientEquilibrium` for the latter.
    """

    base: Regime = JOINT

    def changed(self, phase: Phase, exits: int) -> Phase:
        """See `Wrapping.changed`."""
        return replace(phase, loss=on_cross_entropy(phase.loss, BoostedCrossEntropy, type(self).__name__))
