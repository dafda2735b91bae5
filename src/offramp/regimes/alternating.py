"""Alternating training: the final exit alone in odd steps, all exits in even ones."""

from __future__ import annotations

from dataclasses import dataclass

from offramp.regimes.losses import Step, WeightedCrossEntropy
from offramp.regimes.phase import AS_THE_RUN, Phase, Settings
from offramp.regimes.regime import register
from offramp.regimes.weighted import Weighted


@dataclass(frozen=True)
class AlternatingCrossEntropy(WeightedCrossEntropy):
    """The final exit's cross-entropy in the 1st, 3rd, ... step of the phase, the weighted sum in the others."""

    def weights_at(self, step: Step) -> tuple[float, ...]:
        """See `WeightedCrossEntropy.weights_at`."""
        return self.weights if step.number % 2 else (*(0.0,) * (len(self.weights) - 1), 1.0)


@register
@dataclass(frozen=True)
class Alternating(Weighted):
    """Everything trains, in turn for the final exit's own sake and for that of all exits.

    In an odd step the early heads have no gradient, and the optimizer leaves them out. (With several processes it is
    a gradient of zeros: momentum and weight decay go on.)

    Args:
        weights: of the even steps, as for `Joint`; "ramp" rises at once to its end.
        label_smoothing: share of each target spread evenly over the classes, in [0, 1).
        settings: optimizer, rate and patience, where they differ from the run's.

    Source: Xin et al. 2021 (BERxiT), section 3.2. Differs in that the even steps take the mean of the exits' losses by
    default, not their sum.
    """

    settings: Settings = AS_THE_RUN

    def phases(self, model_exits: int, epochs: int) -> tuple[Phase, ...]:
        """A single phase named "alternating". See `Regime.phases`."""
        loss = AlternatingCrossEntropy(self.exit_weights(model_exits), self.label_smoothing)
        return (Phase("alternating", epochs, loss, settings=self.settings),)
