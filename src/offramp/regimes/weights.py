"""How much each exit's loss counts: the weightings that joint, disjoint and mixed training share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from offramp.errors import TrainingError
from offramp.regimes.losses import Step, WeightedCrossEntropy

NAMED_WEIGHTS = ("mean", "depth", "ramp")

Weights = str | tuple[float, ...]
RAMP_START, RAMP_LOW, RAMP_HIGH = 0.01, 0.15, 0.9


@dataclass(frozen=True)
class RampedCrossEntropy(WeightedCrossEntropy):
    """Weighted cross-entropy whose early exits' weights rise: `w_i = min(C_i, 0.01 + t C_i)`, final exit always 1.

    t is the share of the phase that is done, by whole epochs; C are the `weights`.

    Source: Kaya et al. 2019 (Shallow-Deep Networks), the training of SDNs from scratch.
    """

    epochs: int = 1

    def weights_at(self, step: Step) -> tuple[float, ...]:
        """See `WeightedCrossEntropy.weights_at`."""
        *early, final = self.weights
        return (*(min(c, RAMP_START + step.epoch * c / self.epochs) for c in early), final)


def exit_weights(weights: Weights, exits: int, owner: str) -> tuple[float, ...]:
    """Weights for a model with this many exits, the final one included.

    Args:
        weights: `"mean"`: w_i = 1 / H. `"depth"`: w_i = (i + 1) / (H (H + 1) / 2), deeper exits count more. `"ramp"`:
            where they rise to, evenly from 0.15 to 0.9 for the early exits and 1 for the final one. Or one weight per
            early exit, the final exit gets what is left to 1.
        exits: H.
        owner: the regime, for messages.

    Raises:
        TrainingError: a list of weights is for another number of early exits.
    """
    if weights == "mean":
        return (1 / exits,) * exits
    if weights == "depth":
        return tuple((i + 1) / (exits * (exits + 1) / 2) for i in range(exits))
    if weights == "ramp":
        steps = max(exits - 2, 1)
        return (*(RAMP_LOW + (RAMP_HIGH - RAMP_LOW) * i / steps for i in range(exits - 1)), 1.0)
    given = tuple(float(w) for w in weights)
    if len(given) != exits - 1:
        raise TrainingError(
            f"{owner}(weights={list(given)}) has {len(given)} weights, the model has {exits - 1} early exits; give "
            "one per early exit, earliest first. The final exit gets 1 minus their sum."
        )
    return (*given, 1 - math.fsum(given))


def weighted_loss(
    weights: Weights, exits: int, epochs: int, label_smoothing: float, owner: str, final: bool = True
) -> WeightedCrossEntropy:
    """The loss of a phase.

    Args:
        weights: see `exit_weights`.
        exits: of the model, the final one included.
        epochs: of the phase.
        label_smoothing: share of each target spread evenly over the classes.
        owner: the regime, for messages.
        final: whether the final exit's loss counts too.
    """
    each = exit_weights(weights, exits, owner)
    each = each if final else (*each[:-1], 0.0)
    if weights == "ramp":
        return RampedCrossEntropy(each, label_smoothing, epochs)
    return WeightedCrossEntropy(each, label_smoothing)


def final_loss(exits: int, label_smoothing: float) -> WeightedCrossEntropy:
    """The cross-entropy of the final exit alone."""
    return WeightedCrossEntropy((*(0.0,) * (exits - 1), 1.0), label_smoothing)


def checked_weights(weights: str | Sequence[float], owner: str) -> Weights:
    """The weights in the form that `exit_weights` takes.

    Raises:
        TrainingError: no known name, no numbers, or a sum that leaves the final exit nothing.
    """
    if not isinstance(weights, str):
        return _checked_numbers(weights, owner)
    if weights not in NAMED_WEIGHTS:
        raise TrainingError(
            f"{owner}(weights={weights!r}): give {', '.join(map(repr, NAMED_WEIGHTS[:-1]))} or {NAMED_WEIGHTS[-1]!r}, "
            "or a list with one weight per early exit."
        )
    return weights


def _checked_numbers(weights: Sequence[float], owner: str) -> tuple[float, ...]:
    try:
        given = tuple(float(w) for w in weights)
    except (TypeError, ValueError) as error:
        raise TrainingError(f"{owner}(weights={weights!r}): give a list of numbers, one per early exit.") from error
    bad = [w for w in given if not (math.isfinite(w) and w >= 0)]
    if bad:
        raise TrainingError(f"{owner}(weights={list(given)}): {bad[0]} is not a finite number of at least 0.")
    if math.fsum(given) >= 1:
        raise TrainingError(
            f"{owner}(weights={list(given)}): they sum to {math.fsum(given):.6g}; the sum must be below 1, because the "
            "final exit gets the rest. Make them smaller, e.g. divide each by a larger number."
        )
    return given


def checked_smoothing(label_smoothing: float, owner: str) -> float:
    """The share, if it is one.

    Raises:
        TrainingError: it is not in [0, 1).
    """
    if not 0 <= label_smoothing < 1:
        raise TrainingError(f"{owner}(label_smoothing={label_smoothing!r}): give a share of at least 0 and below 1.")
    return label_smoothing
