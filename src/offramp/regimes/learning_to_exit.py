"""Learning to exit: beside its classes, every early exit learns how likely it is to be right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from offramp.criteria import Certainty, Criterion
from offramp.errors import TrainingError
from offramp.regimes.joint import JOINT
from offramp.regimes.losses import FIRST, ExitLoss, Losses, Step, Sum
from offramp.regimes.phase import Phase
from offramp.regimes.regime import Regime, Wrapping, register


@dataclass(frozen=True)
class CertaintyLoss(ExitLoss):
    """`total = weight mean_i mean_n (sigmoid(mean_c z_inc) - r_in)^2` over the early exits i; `r_in = 1` where exit i
    predicts the label of sample n, else 0.

    Args:
        weight: of the term.
    """  # noqa: D205

    weight: float

    def __call__(self, logits: Sequence[Tensor], labels: Tensor, step: Step = FIRST) -> Losses:
        """See `ExitLoss`."""
        terms = [F.mse_loss(z.mean(dim=-1).sigmoid(), (z.argmax(dim=-1) == labels).to(z.dtype)) for z in logits[:-1]]
        total = self.weight * torch.stack(terms).mean()
        return Losses(total=total, exits=torch.stack([*terms, terms[-1].new_zeros(())]).detach())

    def criterion(self) -> Criterion:
        """What reads the certainty."""
        return Certainty()

    def check(self, exits: int) -> None:
        """See `ExitLoss.check`."""
        if exits < 2:
            raise TrainingError("LearningToExit needs an early exit that can learn to leave: attach one.")


@register
@dataclass(frozen=True)
class LearningToExit(Wrapping):
    """Adds to the base's loss how far each early exit's certainty is from whether it is right.

    An exit states its certainty in the mean of its logits, and the criterion `Certainty` decides by it. Adding the same
    number to all logits changes no probability, so cross-entropy neither sees nor moves the mean: in a head that ends
    in a linear layer, it is a linear function of the features that nothing else uses. A confidence learned from hidden
    features so travels in the logits, through recordings, runtimes and exports, without another output.

    Args:
        base: the regime whose phases are changed.
        weight: of the term, see `CertaintyLoss`.

    Source: Xin et al. 2021 (BERxiT), with `LearningToExit(Alternating())` for its order of steps. Differs in that each
    exit has a linear function of its own, where BERxiT's exits share one.

    Example:
        >>> certain, unsure = torch.tensor([[21.0, 19.0]]), torch.tensor([[1.0, -1.0]])
        >>> loss = CertaintyLoss(weight=1.0)
        >>> [round(loss([z, z], torch.tensor([0])).total.item(), 4) for z in (certain, unsure)]
        [0.0, 0.25]
    """

    base: Regime = JOINT
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise TrainingError(f"LearningToExit(weight={self.weight!r}): give a finite number above 0.")

    def changed(self, phase: Phase, exits: int) -> Phase:
        """See `Wrapping.changed`."""
        return replace(phase, loss=Sum((phase.loss, CertaintyLoss(self.weight))))
