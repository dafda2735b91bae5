"""The rotational exit loss: each step trains some of the exits, in turn, and always the final one."""

from __future__ import annotations

from dataclasses import dataclass

from offramp.errors import TrainingError
from offramp.regimes.losses import Step, WeightedCrossEntropy
from offramp.regimes.phase import AS_THE_RUN, Phase, Settings
from offramp.regimes.regime import Regime, register
from offramp.regimes.weights import checked_smoothing


@dataclass(frozen=True)
class RotatingCrossEntropy(WeightedCrossEntropy):
    """Weighted cross-entropy of every `period`-th early exit and the final one; the weights in use sum to 1."""

    period: int = 1

    def weights_at(self, step: Step) -> tuple[float, ...]:
        """See `WeightedCrossEntropy.weights_at`."""
        final = len(self.weights) - 1
        on = [w if i == final or (step.number + i) % self.period == 0 else 0.0 for i, w in enumerate(self.weights)]
        return tuple(w / sum(on) for w in on)


@register
@dataclass(frozen=True)
class Rotational(Regime):
    """Everything trains; early exit i has a loss in the steps t with `(t + i) mod period = 0`, the final one in all.

    With scale s, early exit i (from 0, of H exits) has the raw weight `s (i + 1) (i + 2) / 2`, the final exit
    `H - 1 + s (H - 1) H / 2`; those in use in a step are divided by their sum.

    Args:
        period: R; 1 trains every exit in every step.
        scale: s, of the early exits against the final one, above 0.
        label_smoothing: share of each target spread evenly over the classes, in [0, 1).
        settings: optimizer, rate and patience, where they differ from the run's.

    Source: Elhoushi et al. 2024 (LayerSkip), section 4.1.2. Differs in that exits are counted, from 1, instead of
    layers, and that each exit has a head of its own.
    """

    period: int = 2
    scale: float = 0.2
    label_smoothing: float = 0.0
    settings: Settings = AS_THE_RUN

    def __post_init__(self) -> None:
        checked_smoothing(self.label_smoothing, type(self).__name__)
        if isinstance(self.period, bool) or not isinstance(self.period, int) or self.period < 1:
            raise TrainingError(f"Rotational(period={self.period!r}): give a whole number of steps, at least 1.")
        if not 0 < self.scale < float("inf"):
            raise TrainingError(f"Rotational(scale={self.scale!r}): give a number above 0.")

    def phases(self, model_exits: int, epochs: int) -> tuple[Phase, ...]:
        """A single phase named "rotational". See `Regime.phases`."""
        final = model_exits - 1
        early = (self.scale * (i + 1) * (i + 2) / 2 for i in range(final))
        weights = (*early, max(final, 1) + self.scale * final * model_exits / 2)
        loss = RotatingCrossEntropy(weights, self.label_smoothing, self.period)
        return (Phase("rotational", epochs, loss, settings=self.settings),)
