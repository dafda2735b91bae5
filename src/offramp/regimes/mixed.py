"""Mixed training: the backbone first, then everything together."""

from __future__ import annotations

from dataclasses import dataclass

from offramp.regimes.phase import AS_THE_RUN, Phase, Settings
from offramp.regimes.regime import register, shares
from offramp.regimes.weighted import Weighted


@register
@dataclass(frozen=True)
class Mixed(Weighted):
    """Phase "backbone" on the final exit's loss, then phase "joint" on the weighted losses of all exits.

    Args:
        weights: of phase "joint", as for `Joint`.
        label_smoothing: share of each target spread evenly over the classes, in [0, 1).
        first: epochs of the first phase, as a whole number or as a share of all; 0 for a backbone that comes with
            trained weights.
        backbone: settings of the first phase, where they differ from the run's.
        joint: settings of the second phase. The source trains it at a tenth of the rate:
            `Settings(lr_factor=0.1)`.

    Source: "How to Train Your Multi-Exit Model?" (arXiv 2407.14320), phases 1 + 2. Differs in that the epochs of both
    phases are counted in one sum, and the rate of the second is by default that of the run.

    Example:
        >>> [(phase.name, phase.epochs, phase.trains) for phase in Mixed().phases(3, epochs=6)]
        [('backbone', 3, 'backbone'), ('joint', 3, 'all')]
    """

    first: int | float = 0.5
    backbone: Settings = AS_THE_RUN
    joint: Settings = AS_THE_RUN

    def phases(self, model_exits: int, epochs: int) -> tuple[Phase, ...]:
        """See `Regime.phases`."""
        if self.first == 0 and isinstance(self.first, int):
            return (self._joint(model_exits, epochs, needs_backbone=True),)
        a, b = shares(epochs, ("backbone", "joint"), self.first, self._name)
        first = Phase("backbone", a, self._final_loss(model_exits), trains="backbone", settings=self.backbone)
        return first, self._joint(model_exits, b)

    def _joint(self, exits: int, epochs: int, needs_backbone: bool = False) -> Phase:
        loss = self._loss(exits, epochs)
        return Phase("joint", epochs, loss, "all", self.joint, needs_backbone=needs_backbone)
