"""Centred kernel alignment: how alike two layers represent the same samples, whatever their widths."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from offramp.errors import AnalysisError


def cka(first: Tensor, second: Tensor) -> float:
    """Linear CKA in [0, 1]: 1 where one is a rotation and scaling of the other.

    `<K, L> / (|K| |L|)` of the centred Gram matrices `K = X X^T`, `L = Y Y^T`.

    Args:
        first: `[n, ...]`, activations of n samples.
        second: `[n, ...]`, of the same samples.

    Raises:
        AnalysisError: different numbers of samples, or activations without any variation.

    Source: Kornblith et al. 2019, "Similarity of neural network representations revisited".

    Example:
        >>> points = torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 3.0]])
        >>> round(cka(points, 5 * points.flip(1)), 6)
        1.0
    """
    return float(cka_matrix([first, second])[0, 1])


def cka_matrix(features: Sequence[Tensor]) -> Tensor:
    """Linear CKA of every pair, `[k, k]` float64."""
    counts = {len(part) for part in features}
    if len(counts) != 1:
        raise AnalysisError(f"cka: {sorted(counts)} samples; give the activations of the same samples.")
    grams = torch.stack([_centred_gram(part).flatten() for part in features])
    norms = grams.norm(dim=1)
    if bool((norms == 0).any()):
        raise AnalysisError("cka: activations that are the same for all samples are alike to nothing; leave them out.")
    matrix: Tensor = (grams @ grams.T) / (norms[:, None] * norms[None, :])
    return matrix


def _centred_gram(features: Tensor) -> Tensor:
    rows = features.detach().flatten(1).double().cpu()
    rows = rows - rows.mean(dim=0)
    gram: Tensor = rows @ rows.T
    return gram
