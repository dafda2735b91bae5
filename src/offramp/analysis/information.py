"""Mutual information between inputs and activations, with noise to make it finite, and when not to believe it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from offramp.errors import AnalysisError

SATURATED = 0.95
"""From this share of log M on, the noise tells every sample from every other: the figure is about M, not the layer."""


@dataclass(frozen=True)
class Information:
    """I(X; Z) in nats for Z = f(X) + N(0, sigma^2 I), X uniform over M samples; never more than log M.

    Attributes:
        nats: the upper bound, which is the estimate in use.
        low: the lower bound.
        sigma: of the noise, in units of the activations.
        samples: M.
    """

    nats: float
    low: float
    sigma: float
    samples: int

    @property
    def share(self) -> float:
        """Of the most there can be, log M."""
        return self.nats / math.log(self.samples)

    @property
    def saturated(self) -> bool:
        """Whether it says nothing more than that the samples differ."""
        return self.share >= SATURATED


def information(features: Tensor, sigma: float) -> Information:
    """Bounds on I(X; Z) from all pairs of samples.

    `I <= log M - mean_i logsumexp_j(-|f_i - f_j|^2 / (2 sigma^2))`, and I is at least the same with 8 in place of 2:
    the entropy of a mixture of M Gaussians lies between what pairwise Kullback-Leibler and Bhattacharyya distances
    give. Bounds of that kind do not depend on the dimension, and need no sampling.

    Args:
        features: `[M, ...]`, activations of M samples.
        sigma: of the noise, above 0.

    Raises:
        AnalysisError: fewer than two samples, a sigma that is not above 0, or activations that are not finite.

    Source: Kolchinsky and Tracey 2017, "Estimating mixture entropy with pairwise distances", equations 10 and 11.

    Example:
        >>> information(torch.tensor([[0.0], [100.0]]), sigma=1.0).share
        1.0
    """
    return _from_distances(_squared_distances(features), sigma)


def information_sweep(features: Tensor, sigmas: Sequence[float]) -> list[Information]:
    """The same for several sigmas: a layer's curve is worth more than any point on it."""
    squared = _squared_distances(features)
    return [_from_distances(squared, sigma) for sigma in sigmas]


def _from_distances(squared: Tensor, sigma: float) -> Information:
    if not (isinstance(sigma, int | float) and 0 < sigma < math.inf):
        raise AnalysisError(f"information(sigma={sigma!r}): give a standard deviation above 0.")
    count = len(squared)
    upper, lower = (
        math.log(count) - float((-squared / (scale * sigma**2)).logsumexp(dim=1).mean()) for scale in (2.0, 8.0)
    )
    return Information(max(upper, 0.0), max(lower, 0.0), float(sigma), count)


def _squared_distances(features: Tensor) -> Tensor:
    """`[M, M]` float64 squared distances of features `[M, ...]`."""
    rows = (
        features.detach().flatten(1).double().cpu() if features.ndim > 1 else features.detach().double().cpu()[:, None]
    )
    if len(rows) < 2 or not bool(rows.isfinite().all()):
        raise AnalysisError(
            f"information(features={list(features.shape)}): give finite activations of at least two samples."
        )
    return torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").square()
