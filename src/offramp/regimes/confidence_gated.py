"""Confidence-gated training: a sample that an earlier exit has right and is sure of counts less at the later ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from offramp.errors import TrainingError
from offramp.regimes.joint import JOINT
from offramp.regimes.losses import FIRST, ExitLoss, Losses, Step, WeightedCrossEntropy, on_cross_entropy
from offramp.regimes.phase import Phase
from offramp.regimes.regime import Regime, Wrapping, register


@dataclass(frozen=True)
class GatedCrossEntropy(ExitLoss):
    """`total = sum_e mean_n (w_e prod_{k<e} (1 - g_kn) + floor) CE_en`.

    `g_kn = 1` where exit k's largest probability on sample n reaches the threshold and its class is right, else 0.

    Args:
        inner: gives the weights w.
        threshold: of the confidence, in [0, 1].
        floor: what every sample counts at least.
    """

    inner: WeightedCrossEntropy
    threshold: float
    floor: float

    def __call__(self, logits: Sequence[Tensor], labels: Tensor, step: Step = FIRST) -> Losses:
        """See `ExitLoss`."""
        weights = self.inner.weights_at(step)
        goes_on = torch.ones_like(logits[0][:, 0])
        terms, plain = [], []
        for weight, own in zip(weights, logits, strict=True):
            each = F.cross_entropy(own, labels, reduction="none", label_smoothing=self.inner.label_smoothing)
            plain.append(each.detach().mean())
            # An exit without a weight has no part in it: the final one while only heads train.
            if weight:
                terms.append(((weight * goes_on + self.floor) * each).mean())
            confidence, predicted = own.detach().softmax(dim=-1).max(dim=-1)
            goes_on = goes_on * ~((confidence >= self.threshold) & (predicted == labels))
        return Losses(total=torch.stack(terms).sum(), exits=torch.stack(plain))

    def check(self, exits: int) -> None:
        """See `ExitLoss.check`."""
        self.inner.check(exits)


@register
@dataclass(frozen=True)
class ConfidenceGated(Wrapping):
    """Deep exits spend their capacity on what the early ones do not solve.

    Args:
        base: the regime whose weighted cross-entropies are gated.
        threshold: confidence from which on an exit that is right keeps a sample, in [0, 1].
        floor: what every sample counts at every exit at least, at least 0.

    Source: confidence-gated training (CGT), the hard gate, as "How to Train Your Multi-Exit Model?" describes it.

    Example:
        >>> logits = [torch.tensor([[9.0, 0.0], [0.0, 0.0]]), torch.zeros(2, 2)]
        >>> loss = ConfidenceGated(floor=0.0).phases(2, epochs=1)[0].loss
        >>> round(loss(logits, torch.tensor([0, 0])).total.item(), 4)  # the first sample does not reach exit 1
        0.3466
    """

    base: Regime = JOINT
    threshold: float = 0.9
    floor: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1 or not 0 <= self.floor < float("inf"):
            raise TrainingError(
                f"ConfidenceGated(threshold={self.threshold!r}, floor={self.floor!r}): the threshold is a probability, "
                "the floor a number of at least 0."
            )

    def changed(self, phase: Phase, exits: int) -> Phase:
        """See `Wrapping.changed`."""

        def gated(inner: WeightedCrossEntropy) -> ExitLoss:
            return GatedCrossEntropy(inner, self.threshold, self.floor)

        return replace(phase, loss=on_cross_entropy(phase.loss, gated, type(self).__name__))
