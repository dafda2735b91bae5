"""The backbone alone: no exit learns. The control that the others are compared with."""

from __future__ import annotations

from dataclasses import dataclass

from offramp.regimes.phase import AS_THE_RUN, Phase, Settings
from offramp.regimes.regime import Regime, register
from offramp.regimes.weights import checked_smoothing, final_loss


@register
@dataclass(frozen=True)
class BackboneAlone(Regime):
    """The user's module trains on its own output's cross-entropy; the early heads keep their first weights.

    Args:
        label_smoothing: share of each target spread evenly over the classes, in [0, 1).
        settings: optimizer, rate and patience, where they differ from the run's.

    Source: phase 1 of "How to Train Your Multi-Exit Model?" (arXiv 2407.14320).
    """

    label_smoothing: float = 0.0
    settings: Settings = AS_THE_RUN

    def __post_init__(self) -> None:
        checked_smoothing(self.label_smoothing, type(self).__name__)

    def phases(self, model_exits: int, epochs: int) -> tuple[Phase, ...]:
        """A single phase named "backbone". See `Regime.phases`."""
        loss = final_loss(model_exits, self.label_smoothing)
        return (Phase("backbone", epochs, loss, trains="backbone", settings=self.settings),)
