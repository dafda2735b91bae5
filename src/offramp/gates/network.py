"""The small networks of gates while they are trained: standardised inputs, penalised weights, then plain numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from offramp.criteria import Gate
from offramp.criteria.gate import run_gate
from offramp.errors import CalibrationError

STEPS = 300
DECAY = 1e-4
"""Weight of the squared parameters beside the mean loss: keeps them finite where classes can be separated."""


@dataclass(frozen=True, eq=False)
class Network:
    """Linear layers over standardised features, in double precision.

    Attributes:
        centre: `[f]`, mean of the features.
        spread: `[f]`, their standard deviation, 1 where it is 0.
        layers: weights and biases.
    """

    centre: Tensor
    spread: Tensor
    layers: tuple[tuple[Tensor, Tensor], ...]

    @classmethod
    def fresh(cls, features: Tensor, hidden: int, seed: int) -> Network:
        """For features `[n, f]`; `hidden` 0 makes it a logistic regression.

        Raises:
            CalibrationError: `hidden` is no whole number of at least 0.
        """
        if isinstance(hidden, bool) or not isinstance(hidden, int) or hidden < 0:
            raise CalibrationError(f"hidden={hidden!r}: give the width of a hidden layer, or 0 for none.")
        spread = features.std(dim=0, correction=0)
        widths = [features.shape[1], *([hidden] if hidden else []), 1]
        generator = torch.Generator().manual_seed(seed)
        layers = tuple(_layer(a, b, generator) for a, b in itertools.pairwise(widths))
        return cls(features.mean(dim=0), torch.where(spread > 1e-9, spread, 1.0), layers)

    @property
    def parameters(self) -> list[Tensor]:
        """All weights and biases."""
        return [tensor for layer in self.layers for tensor in layer]

    def __call__(self, features: Tensor) -> Tensor:
        """Log-odds `[n]` of features `[n, f]`."""
        return run_gate(self.layers, (features - self.centre) / self.spread)

    def penalty(self) -> Tensor:
        """Of the size of the parameters."""
        return DECAY * torch.stack([p.square().sum() for p in self.parameters]).sum()

    def gate(self, classes: int, top: int, fixed: Sequence[float] = ()) -> Gate:
        """As numbers; what is fixed of the features, the last of them, is folded into the first biases."""
        weights, biases = (tensor.detach() for tensor in self.layers[0])
        weights = weights / self.spread
        biases = biases - weights @ self.centre
        kept = weights.shape[1] - len(fixed)
        biases = biases + weights[:, kept:] @ torch.tensor(fixed, dtype=torch.float64)
        layers = [(weights[:, :kept], biases), *((w.detach(), b.detach()) for w, b in self.layers[1:])]
        return Gate(tuple((tuple(map(tuple, w.tolist())), tuple(b.tolist())) for w, b in layers), classes, top)


def _layer(inputs: int, outputs: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    weights = torch.randn(outputs, inputs, generator=generator, dtype=torch.float64) / math.sqrt(inputs)
    return weights.requires_grad_(), torch.zeros(outputs, dtype=torch.float64, requires_grad=True)


def minimise(loss: Callable[[], Tensor], parameters: Sequence[Tensor], steps: int = STEPS) -> None:
    """Runs L-BFGS on a loss of all samples at once, which needs no learning rate and draws nothing."""
    optimizer: Any = torch.optim.LBFGS(
        list(parameters), max_iter=steps, tolerance_grad=1e-8, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        torch.autograd.backward(value)
        return value

    with torch.enable_grad():
        optimizer.step(closure)


def likelihood_loss(log_odds: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log-likelihood of targets `[n]` of 0 and 1, drawn in by half a sample so that it has a minimum."""
    slack = 0.5 / len(targets)
    return torch.nn.functional.binary_cross_entropy_with_logits(log_odds, targets.clamp(slack, 1 - slack))
