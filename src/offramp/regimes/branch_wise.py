"""Branch-wise training: stage by stage from the input, each with its exit, and frozen for the ones behind it."""

from __future__ import annotations

from dataclasses import dataclass

from offramp.errors import TrainingError
from offramp.regimes.losses import WeightedCrossEntropy
from offramp.regimes.phase import AS_THE_RUN, Phase, Settings
from offramp.regimes.regime import Regime, register
from offramp.regimes.weights import checked_smoothing


@register
@dataclass(frozen=True)
class BranchWise(Regime):
    """Phase k trains what runs between the cuts k - 1 and k with exit k's head, on exit k's loss alone.

    The last phase trains the rest of the backbone on the final exit's loss. The epochs are shared evenly, the
    remainder goes to the last phases. Every early exit is as good as a network that ends there could be; those behind
    build on features that were made for the ones before.

    Args:
        label_smoothing: share of each target spread evenly over the classes, in [0, 1).
        settings: optimizer, rate and patience of every phase, where they differ from the run's.

    Source: the branch-wise training of Scardapane et al. 2020 (Why Should We Add Early Exits to Neural Networks?).
    """

    label_smoothing: float = 0.0
    settings: Settings = AS_THE_RUN

    def __post_init__(self) -> None:
        checked_smoothing(self.label_smoothing, type(self).__name__)

    def phases(self, model_exits: int, epochs: int) -> tuple[Phase, ...]:
        """See `Regime.phases`."""
        if epochs < model_exits:
            raise TrainingError(
                f"BranchWise with epochs={epochs} and {model_exits} exits: each needs a phase of at least 1 epoch. "
                f"Give at least {model_exits} epochs."
            )
        ends = [epochs * k // model_exits for k in range(model_exits + 1)]
        return tuple(self._phase(k, model_exits, ends[k + 1] - ends[k]) for k in range(model_exits))

    def _phase(self, k: int, exits: int, epochs: int) -> Phase:
        weights = tuple(float(exit == k) for exit in range(exits))
        loss = WeightedCrossEntropy(weights, self.label_smoothing)
        parts = (f"stages.{k}",) if k == exits - 1 else (f"stages.{k}", f"heads.{k}")
        return Phase(f"branch {k}", epochs, loss, parts, self.settings, watches=(k,))
