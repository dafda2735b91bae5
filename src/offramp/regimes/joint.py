"""Joint training: one phase in which the backbone and every exit learn together from a weighted sum of losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from offramp.errors import TrainingError
from offramp.regimes.regime import Phase, Regime, WeightedCrossEntropy, register

NAMED_WEIGHTS = ("mean", "depth")


@register
@dataclass(frozen=True)
class Joint(Regime):
    """Everything trains at once on `sum_i w_i CE_i` over the exits i = 0 .. H-1, the final one included.

    Args:
        weights: `"mean"`: w_i = 1 / H. `"depth"`: w_i = (i + 1) / (H (H + 1) / 2), deeper exits count more.
            Or a list with the weight of each **early** exit, earliest first, each at least 0 and their sum below 1;
            the final exit gets what is left to 1.
        label_smoothing: share of each target spread evenly over the classes, in [0, 1).

    Source: "How to Train Your Multi-Exit Model?" (arXiv 2407.14320), the joint regime and its loss weightings.

    Example:
        >>> Joint(weights="depth").exit_weights(2)
        (0.3333333333333333, 0.6666666666666666)
    """

    weights: str | tuple[float, ...] = "mean"
    label_smoothing: float = 0.0

    def __init__(self, weights: str | Sequence[float] = "mean", label_smoothing: float = 0.0) -> None:
        object.__setattr__(self, "weights", weights if isinstance(weights, str) else _checked(weights))
        object.__setattr__(self, "label_smoothing", label_smoothing)
        if isinstance(weights, str) and weights not in NAMED_WEIGHTS:
            raise TrainingError(
                f"Joint(weights={weights!r}): give {' or '.join(map(repr, NAMED_WEIGHTS))}, or a list with one weight "
                "per early exit."
            )
        if not 0 <= label_smoothing < 1:
            raise TrainingError(f"Joint(label_smoothing={label_smoothing!r}): give a share of at least 0 and below 1.")

    def exit_weights(self, exits: int) -> tuple[float, ...]:
        """Weights for a model with this many exits, the final one included; they sum to 1.

        Raises:
            TrainingError: a list of weights is for another number of early exits.
        """
        if self.weights == "mean":
            return (1 / exits,) * exits
        if self.weights == "depth":
            return tuple((i + 1) / (exits * (exits + 1) / 2) for i in range(exits))
        given = tuple(float(w) for w in self.weights)
        if len(given) != exits - 1:
            raise TrainingError(
                f"Joint(weights={list(given)}) has {len(given)} weights, the model has {exits - 1} early exits; give "
                "one per early exit, earliest first. The final exit gets 1 minus their sum."
            )
        return (*given, 1 - math.fsum(given))

    def phases(self, model_exits: int, epochs: int) -> tuple[Phase, ...]:
        """A single phase named "joint". See `Regime.phases`."""
        loss = WeightedCrossEntropy(self.exit_weights(model_exits), self.label_smoothing)
        return (Phase(name="joint", epochs=epochs, loss=loss),)


def _checked(weights: Sequence[float]) -> tuple[float, ...]:
    try:
        given = tuple(float(w) for w in weights)
    except (TypeError, ValueError) as error:
        raise TrainingError(f"Joint(weights={weights!r}): give a list of numbers, one per early exit.") from error
    bad = [w for w in given if not (math.isfinite(w) and w >= 0)]
    if bad:
        raise TrainingError(f"Joint(weights={list(given)}): {bad[0]} is not a finite number of at least 0.")
    if math.fsum(given) >= 1:
        raise TrainingError(
            f"Joint(weights={list(given)}): they sum to {math.fsum(given):.6g}; the sum must be below 1, because the "
            "final exit gets the rest. Make them smaller, e.g. divide each by a larger number."
        )
    return given
