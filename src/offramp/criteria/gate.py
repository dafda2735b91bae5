"""A learned gate: a small network over an exit's surest probabilities; `offramp.train_gates` trains one per exit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from offramp.criteria.criterion import Criterion, log_odds, register
from offramp.criteria.entropy import negative_entropy
from offramp.errors import PolicyError

Layer = tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]
"""Weights `[out, in]` and biases `[out]`."""


def gate_features(logits: Tensor, top: int) -> Tensor:
    """`[n, top + 2]`: the largest probabilities, their first gap, and the normalised entropy as a surety.

    Args:
        logits: `[n, classes]`.
        top: how many probabilities, 2 to the number of classes.
    """
    log_p = logits.log_softmax(dim=-1)
    p = log_p.exp()
    first = p.topk(top, dim=-1).values
    surety = 1 + negative_entropy(p, log_p) / math.log(logits.shape[-1])
    return torch.cat([first, first[..., :1] - first[..., 1:2], surety.unsqueeze(-1)], dim=-1)


def run_gate(layers: Sequence[tuple[Tensor, Tensor]], features: Tensor) -> Tensor:
    """Log-odds `[n]` of features `[n, f]`: linear layers with tanh between them."""
    for k, (weights, biases) in enumerate(layers):
        features = torch.nn.functional.linear(features.tanh() if k else features, weights, biases)
    return features.squeeze(-1)


@register
@dataclass(frozen=True)
class Gate(Criterion):
    """`score = sigmoid(network(gate_features(z)))`: a learned probability that the exit agrees with the last one.

    Standardising the features, and the exit's depth where a gate serves several, are folded into the first layer.

    Source: the learning-to-exit family, e.g. BERxiT (Xin et al. 2021). Differs from it in that it reads
    logits and is trained afterwards, so that it needs nothing of the model.

    Attributes:
        layers: weights and biases of each linear layer; the last one has one output.
        classes: number of classes it was trained for.
        top: how many probabilities it reads.

    Example:
        >>> import torch
        >>> gate = Gate(layers=((((4.0, 0.0, 0.0, 0.0),), (-3.0,)),), classes=2, top=2)
        >>> gate.score(torch.tensor([[0.0, 0.0], [9.0, 0.0]]))
        tensor([0.2689, 0.7310])
    """

    layers: tuple[Layer, ...]
    classes: int
    top: int

    def __post_init__(self) -> None:
        try:
            layers = tuple(
                (tuple(tuple(float(w) for w in row) for row in weights), tuple(float(b) for b in biases))
                for weights, biases in self.layers
            )
        except (TypeError, ValueError) as error:
            raise PolicyError(f"Gate(layers=...): give (weights, biases) of each layer ({error}).") from error
        object.__setattr__(self, "layers", layers)
        if not 2 <= self.top <= self.classes:
            raise PolicyError(f"Gate(top={self.top}): give 2 to the number of classes, {self.classes}.")
        widths = [self.top + 2, *(len(biases) for _, biases in layers)]
        fits = all(
            len(weights) == out and all(len(row) == width for row in weights)
            for (weights, _), width, out in zip(layers, widths, widths[1:], strict=False)
        )
        numbers = [x for weights, biases in layers for row in (*weights, biases) for x in row]
        if not layers or not fits or widths[-1] != 1 or not all(map(math.isfinite, numbers)):
            raise PolicyError(
                f"Gate(top={self.top}): its layers must lead from {self.top + 2} features to 1 number, all of them "
                f"finite; their widths are {widths}. offramp.train_gates makes them."
            )
        # Made here and not where they are used, as what is made while a model is exported belongs to that export.
        tensors = [(torch.tensor(weights), torch.tensor(biases)) for weights, biases in _folded(layers, self.classes)]
        object.__setattr__(self, "_tensors", tensors)

    @property
    def graded(self) -> bool:
        """What is learned may bend."""
        return False

    def check(self, early_exits: int, classes: int) -> None:
        """See `Criterion.check`."""
        if classes != self.classes:
            raise PolicyError(
                f"The gate was trained for {self.classes} classes, here are {classes}: train it on a recording of this "
                "model with offramp.train_gates."
            )

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.score`."""
        layers = [(weights.to(logits), biases.to(logits)) for weights, biases in self.__dict__["_tensors"]]
        log_p = logits.log_softmax(dim=-1)
        p = log_p.exp()
        surest = p.topk(self.top, dim=-1).values
        return run_gate(layers, torch.cat([surest, negative_entropy(p, log_p).unsqueeze(-1)], dim=-1)).sigmoid()

    def grid(self, classes: int, size: int) -> list[float]:
        """Evenly spaced in log-odds over (0, 1)."""
        return log_odds(size)


def _folded(layers: tuple[Layer, ...], classes: int) -> tuple[Layer, ...]:
    """Layers over the largest probabilities and the negative entropy: what else is read is linear in these."""
    (weights, biases), *others = layers
    scale = 1 / math.log(classes)
    rows = tuple((row[0] + row[-2], row[1] - row[-2], *row[2:-2], scale * row[-1]) for row in weights)
    return ((rows, tuple(b + row[-1] for b, row in zip(biases, weights, strict=True))), *others)
