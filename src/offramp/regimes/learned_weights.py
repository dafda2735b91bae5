"""Learned sample weights (L2W): each sample counts most at the exit where it would leave."""

from __future__ import annotations

from dataclasses import dataclass, replace

from offramp.errors import TrainingError
from offramp.regimes.joint import JOINT
from offramp.regimes.losses import ExitLoss, WeightedCrossEntropy, on_cross_entropy
from offramp.regimes.phase import Phase
from offramp.regimes.regime import Regime, Wrapping, register
from offramp.regimes.weighing_samples import LearnedWeightsLoss


@register
@dataclass(frozen=True)
class LearnedWeights(Wrapping):
    """A small network weighs samples at every exit, and learns what makes an exit right on those that leave there.

    A step with a look ahead costs about three; `every` says how often there is one.

    Args:
        base: the regime whose weighted cross-entropies get the samples' weights.
        spread: the weights stay within `1 +- spread`; in (0, 1).
        width: of the weights' network.
        keep: of neighbouring exits, the later one is meant for this many times as many samples; above 0.
        every: steps from one look ahead to the next, at least 1.
        rate: factor on the gradient of the weights' network, above 0.

    Source: Han et al. 2022 (Learning to Weight Samples for Dynamic Early-Exiting Networks), sections 3.2 and 3.3.
    Differs in that the weights' network shares the model's optimizer, and that a batch's second half is always the one
    to look ahead on.
    """

    base: Regime = JOINT
    spread: float = 0.6
    width: int = 64
    keep: float = 0.7
    every: int = 4
    rate: float = 1.0

    def __post_init__(self) -> None:
        bounds = {"spread": (0, 1), "width": (0, None), "keep": (0, None), "every": (0, None), "rate": (0, None)}
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low < value < (float("inf") if high is None else high):
                below = "" if high is None else f" and below {high}"
                raise TrainingError(f"LearnedWeights({name}={value!r}): give a number above {low}{below}.")
        for name in ("width", "every"):
            if not isinstance(getattr(self, name), int):
                raise TrainingError(f"LearnedWeights({name}={getattr(self, name)!r}): give a whole number.")

    def changed(self, phase: Phase, exits: int) -> Phase:
        """See `Wrapping.changed`."""

        def weighing(inner: WeightedCrossEntropy) -> ExitLoss:
            return LearnedWeightsLoss(inner, self.spread, self.width, self.keep, self.every, self.rate)

        return replace(phase, loss=on_cross_entropy(phase.loss, weighing, type(self).__name__))
