"""Feature hints: early features learn to tell what the last layer is given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from offramp.backbones.modes import trying
from offramp.errors import TrainingError
from offramp.regimes.features import Features, vectors
from offramp.regimes.joint import JOINT
from offramp.regimes.losses import FIRST, ExitLoss, Losses, Step, Sum
from offramp.regimes.phase import Phase
from offramp.regimes.places import example_of
from offramp.regimes.regime import Regime, Wrapping, register


class HintLoss(nn.Module, ExitLoss):
    """`total = weight * mean_i mean_c (A_i v_i - v_last)^2` over the cuts i, v the features averaged to vectors.

    v_last, what the layer that makes the backbone's logits is given, gets no gradient from it. The maps A_i are linear,
    train along, and are not part of the model afterwards.

    Args:
        weight: of the term.
    """

    features = True

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.maps = nn.ModuleList()

    def begins(self, model: nn.Module) -> None:
        """Builds the maps for the model's widths."""
        backbone, args, kwargs = example_of(model)
        watched = Features(model)
        with trying(backbone), watched.watching():
            backbone(*args, **kwargs)
        *early, last = (vectors(found).shape[1] for found in watched.take())
        self.maps = nn.ModuleList(nn.Linear(width, last) for width in early)

    def forward(self, logits: Sequence[Tensor], labels: Tensor, step: Step = FIRST) -> Losses:
        """See `ExitLoss`."""
        # Features are narrow in mixed precision; the maps, like all weights, are not.
        *early, last = (vectors(found).float() for found in step.features)
        pairs = zip(self.maps, early, strict=True)
        terms = torch.stack([(to(own) - last.detach()).square().mean() for to, own in pairs])
        return Losses(total=self.weight * terms.mean(), exits=torch.cat([terms, terms.new_zeros(1)]).detach())


@register
@dataclass(frozen=True)
class FeatureHints(Wrapping):
    """Adds the hint term to the base's loss in every phase in which several exits learn.

    Args:
        base: the regime whose phases are changed.
        weight: of the term, see `HintLoss`.

    Source: Zhang et al. 2019 (Be Your Own Teacher), the hint loss. Differs in that features are averaged over space or
    tokens before they are compared, so that it fits any model. The same source's distillation from the final exit is
    `SelfDistillation`; wrap one in the other for both.
    """

    base: Regime = JOINT
    weight: float = 0.03

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise TrainingError(f"FeatureHints(weight={self.weight!r}): give a finite number above 0.")

    def changed(self, phase: Phase, exits: int) -> Phase:
        """See `Wrapping.changed`."""
        return replace(phase, loss=Sum((phase.loss, HintLoss(self.weight))))
