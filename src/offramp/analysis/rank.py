"""Numerical rank of activations: how many directions they really use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from offramp.errors import AnalysisError

TOLERANCE = 1e-3
TOLERANCES = tuple(10 ** (-k / 4) for k in range(4, 25))
"""From 0.1 to 1e-6, four a decade: the curve, because any single tolerance saturates somewhere."""
MOST_FEATURES = 8_000


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues of the covariance of activations.

    Attributes:
        values: `[min(n - 1, features)]` float64, falling, not below 0.
        features: number of features they come from.
    """

    values: Tensor
    features: int

    def rank(self, tolerance: float = TOLERANCE) -> int:
        """Eigenvalues above `tolerance` times the largest."""
        return int((self.values > tolerance * self.values[0]).sum()) if float(self.values[0]) > 0 else 0

    def curve(self, tolerances: Sequence[float] = TOLERANCES) -> list[int]:
        """The rank at several tolerances."""
        return [self.rank(tolerance) for tolerance in tolerances]

    @property
    def effective(self) -> float:
        """Number of equal directions that would spread as widely; needs no tolerance.

        `exp(H(p))`, with p the eigenvalues as shares of their sum and H the entropy in nats.

        Source: Roy and Vetterli 2007, "The effective rank", on eigenvalues in place of singular values.
        """
        total = float(self.values.sum())
        if total <= 0:
            return 0.0
        shares = self.values / total
        return math.exp(float(-(shares * shares.clamp(min=1e-300).log()).sum()))


def spectrum(features: Tensor, seed: int = 0) -> Spectrum:
    """Spectrum of the centred covariance of activations.

    Without centring, the mean is a direction of its own that dwarfs the others.

    Args:
        features: `[n, ...]`, activations of n samples, flattened; of more than 8,000 features as many are drawn.
        seed: of the draw.

    Raises:
        AnalysisError: fewer than two samples, or activations that are not finite.

    Example:
        >>> line = torch.arange(5.0)[:, None] * torch.tensor([1.0, 2.0, 3.0])
        >>> spectrum(line).rank()
        1
    """
    rows = features.detach().flatten(1).double().cpu()
    if len(rows) < 2 or not bool(rows.isfinite().all()):
        raise AnalysisError(
            f"spectrum(features={list(features.shape)}): give finite activations of at least two samples."
        )
    if rows.shape[1] > MOST_FEATURES:
        chosen = torch.randperm(rows.shape[1], generator=torch.Generator().manual_seed(seed))[:MOST_FEATURES]
        rows = rows[:, chosen]
    centred = rows - rows.mean(dim=0)
    # The smaller of the two Gram matrices has the same eigenvalues above zero.
    gram = centred @ centred.T if len(rows) <= rows.shape[1] else centred.T @ centred
    values = torch.linalg.eigvalsh(gram / (len(rows) - 1)).clamp(min=0).flip(0)
    return Spectrum(values[: min(len(rows) - 1, rows.shape[1])], rows.shape[1])
