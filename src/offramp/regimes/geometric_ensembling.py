"""Training for the geometric ensemble: each exit is trained through the mean of the answers up to it."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from offramp.regimes.disjoint import Disjoint
from offramp.regimes.ensembling import EnsembleCrossEntropy
from offramp.regimes.losses import on_cross_entropy
from offramp.regimes.phase import Phase
from offramp.regimes.regime import Regime, Wrapping, register


@dataclass(frozen=True)
class GeometricCrossEntropy(EnsembleCrossEntropy):
    """The weighted cross-entropy of `g_n`, the softmax of the mean of `log p_k` over the exits k <= n."""

    def answers(self, logits: Sequence[Tensor]) -> Sequence[Tensor]:
        """The means of the log-probabilities."""
        sums = itertools.accumulate((F.log_softmax(own, dim=-1) for own in logits), operator.add)
        return [total / (n + 1) for n, total in enumerate(sums)]


DISJOINT = Disjoint()


@register
@dataclass(frozen=True)
class GeometricEnsembling(Wrapping):
    """The exits learn to be right together: gradients reach every member of an ensemble.

    Take exits with the criterion `geometric_ensemble`, which answers so; accuracies in the history are those of the
    ensembles. Learned weights for the members can follow: `offramp.train_ensemble`.

    Args:
        base: the regime whose weighted cross-entropies are of the ensembles instead; disjoint by default, as in the
            source.

    Source: Wolczyk et al. 2021 (Zero Time Waste), the geometric ensemble. Differs in that the members have equal
    weights. `CascadedHeads` adds the cascade connections.
    """

    base: Regime = DISJOINT

    def changed(self, phase: Phase, exits: int) -> Phase:
        """See `Wrapping.changed`."""
        return replace(phase, loss=on_cross_entropy(phase.loss, GeometricCrossEntropy, type(self).__name__))
