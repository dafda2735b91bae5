"""Disjoint training: the backbone first, then the early exits on the frozen backbone."""

from __future__ import annotations

from dataclasses import dataclass

from offramp.regimes.phase import AS_THE_RUN, Phase, Settings
from offramp.regimes.regime import register, shares
from offramp.regimes.weighted import Weighted


@register
@dataclass(frozen=True)
class Disjoint(Weighted):
    """Phase "backbone" on the final exit's loss, then phase "heads" on the early exits' weighted losses.

    In the second phase the backbone's parameters and buffers do not change by a bit, so the final exit stays exactly
    as good as the backbone alone.

    Args:
        weights: as for `Joint`; the final exit's weight is not used, as nothing that trains depends on its loss.
        label_smoothing: share of each target spread evenly over the classes, in [0, 1).
        first: epochs of the first phase, as a whole number or as a share of all; 0 for a backbone that comes with
            trained weights: there is then only the second phase, and a warning where the backbone predicts no better
            than chance.
        backbone: settings of the first phase, where they differ from the run's.
        heads: settings of the second phase.

    Source: "How to Train Your Multi-Exit Model?" (arXiv 2407.14320), phases 1 + 3. Differs in that the final exit's
    constant loss is left out of the mean's sum.

    Example:
        >>> [(phase.name, phase.epochs, phase.trains) for phase in Disjoint(first=4).phases(3, epochs=6)]
        [('backbone', 4, 'backbone'), ('heads', 2, 'heads')]
    """

    first: int | float = 0.5
    backbone: Settings = AS_THE_RUN
    heads: Settings = AS_THE_RUN

    def phases(self, model_exits: int, epochs: int) -> tuple[Phase, ...]:
        """See `Regime.phases`."""
        if self.first == 0 and isinstance(self.first, int):
            return (self._heads(model_exits, epochs, needs_backbone=True),)
        a, b = shares(epochs, ("backbone", "heads"), self.first, self._name)
        first = Phase("backbone", a, self._final_loss(model_exits), trains="backbone", settings=self.backbone)
        return first, self._heads(model_exits, b)

    def _heads(self, exits: int, epochs: int, needs_backbone: bool = False) -> Phase:
        loss = self._loss(exits, epochs, final=False)
        return Phase("heads", epochs, loss, "heads", self.heads, needs_backbone=needs_backbone)
