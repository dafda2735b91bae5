"""What joint, disjoint and mixed training have in common: the weights of the exits' losses, and label smoothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from offramp.regimes.losses import WeightedCrossEntropy
from offramp.regimes.regime import Regime
from offramp.regimes.weights import checked_smoothing, checked_weights, exit_weights, final_loss, weighted_loss


@dataclass(frozen=True)
class Weighted(Regime):
    """A regime whose loss is a weighted sum of the exits' cross-entropies.

    Args:
        weights: `"mean"`, `"depth"`, `"ramp"`, or one per **early** exit; see `weights.exit_weights`.
        label_smoothing: share of each target spread evenly over the classes, in [0, 1).

    Raises:
        TrainingError: impossible weights or smoothing.
    """

    weights: str | Sequence[float] = "mean"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", checked_weights(self.weights, self._name))
        checked_smoothing(self.label_smoothing, self._name)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def exit_weights(self, exits: int) -> tuple[float, ...]:
        """Weights for a model with this many exits, the final one included; they sum to 1, those of "ramp" do not.

        Raises:
            TrainingError: a list of weights is for another number of early exits.
        """
        return exit_weights(checked_weights(self.weights, self._name), exits, self._name)

    def _loss(self, exits: int, epochs: int, final: bool = True) -> WeightedCrossEntropy:
        weights = checked_weights(self.weights, self._name)
        return weighted_loss(weights, exits, epochs, self.label_smoothing, self._name, final)

    def _final_loss(self, exits: int) -> WeightedCrossEntropy:
        return final_loss(exits, self.label_smoothing)
