"""A learned weighting of all exits so far, as confidence and as answer; `offramp.train_ensemble` learns it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from offramp.criteria.criterion import Criterion, register
from offramp.criteria.ensembles import Ensemble
from offramp.criteria.max_probability import MaxProbability
from offramp.errors import PolicyError


@register
@dataclass(frozen=True)
class WeightedEnsemble(Ensemble):
    """`q_m,c ~ exp(b_m,c) prod_{j <= m} p_j,c^(w_m,j)`: the exits' probabilities, weighted, renormalised and scored.

    The answer is `ln q`, at the last exit too.

    Source: ZTW (Wołczyk et al. 2021), "Zero time waste", the geometric ensemble.

    Attributes:
        weights: a row per exit, the last included: `m + 1` weights of at least 0 for exit m.
        biases: a row per exit with a number per class; none where there are none.
        confidence: scores what comes of it.

    Example:
        >>> import torch
        >>> cat, dog = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> WeightedEnsemble(weights=((1.0,), (0.0, 2.0))).answer(dog, [cat]).softmax(1)
        tensor([[0.1192, 0.8808]])
    """

    weights: tuple[tuple[float, ...], ...]
    biases: tuple[tuple[float, ...], ...] = ()
    confidence: Criterion = field(default_factory=MaxProbability)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "weights", tuple(tuple(map(float, row)) for row in self.weights))
        object.__setattr__(self, "biases", tuple(tuple(map(float, row)) for row in self.biases))
        wrong = [k for k, row in enumerate(self.weights) if len(row) != k + 1 or min(row) < 0 or not sum(row) > 0]
        if wrong or not all(math.isfinite(x) for row in (*self.weights, *self.biases) for x in row):
            raise PolicyError(
                f"WeightedEnsemble(weights={self.weights}): exit k needs k + 1 finite weights of at least 0, not all "
                "of them 0, and biases must be finite. offramp.train_ensemble learns them from a recording."
            )
        if self.biases and len({len(row) for row in self.biases}) + abs(len(self.biases) - len(self.weights)) != 1:
            raise PolicyError(
                f"WeightedEnsemble has {len(self.weights)} rows of weights and biases of the lengths "
                f"{[len(row) for row in self.biases]}: give a row per exit with a number per class, or none at all."
            )

    def check(self, early_exits: int, classes: int) -> None:
        """See `Criterion.check`."""
        if len(self.weights) != early_exits + 1 or (self.biases and len(self.biases[0]) != classes):
            raise PolicyError(
                f"The ensemble was trained for {len(self.weights)} exits"
                + (f" and {len(self.biases[0])} classes" if self.biases else "")
                + f", here are {early_exits + 1} and {classes}: train it on a recording of this model with "
                "offramp.train_ensemble."
            )

    def answer(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.answer`."""
        exit = len(earlier)
        pairs = zip(self.weights[exit], (*earlier, logits), strict=True)
        # A weight of 0 is left out, where 0 * -inf of a masked class would be NaN; this exit's own never is.
        # The exits' own normalisers are the same for all classes, so the last normalisation takes them out.
        terms = [w * z for j, (w, z) in enumerate(pairs) if w > 0 or j == exit]
        total = sum(terms[1:], terms[0])
        if self.biases:
            total = total + logits.new_tensor(self.biases[exit])
        return total.log_softmax(dim=-1)
