"""Joint training: one phase in which the backbone and every exit learn together from a weighted sum of losses."""

from __future__ import annotations

from dataclasses import dataclass

from offramp.regimes.phase import AS_THE_RUN, Phase, Settings
from offramp.regimes.regime import register
from offramp.regimes.weighted import Weighted


@register
@dataclass(frozen=True)
class Joint(Weighted):
    """Everything trains at once on `sum_i w_i CE_i` over the exits i = 0 .. H-1, the final one included.

    Args:
        weights: `"mean"`: w_i = 1 / H. `"depth"`: w_i = (i + 1) / (H (H + 1) / 2), deeper exits count more. `"ramp"`:
            early exits' weights that rise from 0.01, see `weights.RampedCrossEntropy`. Or a list with the weight of
            each **early** exit, earliest first, each at least 0 and their sum below 1; the final exit gets what is
            left to 1.
        label_smoothing: share of each target spread evenly over the classes, in [0, 1).
        settings: optimizer, rate and patience, where they differ from the run's.

    Source: "How to Train Your Multi-Exit Model?" (arXiv 2407.14320), the joint regime and its loss weightings; the
    ramp is that of Shallow-Deep Networks (Kaya et al. 2019).

    Example:
        >>> Joint(weights="depth").exit_weights(2)
        (0.3333333333333333, 0.6666666666666666)
    """

    settings: Settings = AS_THE_RUN

    def phases(self, model_exits: int, epochs: int) -> tuple[Phase, ...]:
        """A single phase named "joint". See `Regime.phases`."""
        loss = self._loss(model_exits, epochs)
        return (Phase(name="joint", epochs=epochs, loss=loss, settings=self.settings),)


JOINT = Joint()
