"""What sparse layers have in common: which can be sparse, how sparse they are, thresholds on scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from offramp.compression.layers import can_transform, entries_present, weight_in_use
from offramp.errors import CompressionError


def compressible(layers: Mapping[str, nn.Module], algorithm: str) -> dict[str, Any]:
    """Those of the layers that can be given transforms.

    Raises:
        CompressionError: there are none.
    """
    found = {name: layer for name, layer in layers.items() if can_transform(layer)}
    if not found:
        raise CompressionError(
            f"{algorithm} finds no layer to work on: no linear layer or convolution of torch's own is in its scopes. "
            "Widen target_scopes or ignored_scopes."
        )
    return found


def rate_of(model: nn.Module, names: Iterable[str]) -> float:
    """Share of zeros among the weights of these layers, as they are used; channels that are gone do not count."""
    counts = [_count(model.get_submodule(name)) for name in names]
    return sum(zeros for zeros, _ in counts) / max(sum(entries for _, entries in counts), 1)


def rates_by_layer(model: nn.Module, names: Iterable[str]) -> dict[str, float]:
    """The same of every layer alone."""
    return {name: rate_of(model, [name]) for name in names}


def _count(layer: nn.Module) -> tuple[int, int]:
    there = entries_present(layer)
    return int(((weight_in_use(layer) == 0) & there).sum()), int(there.sum())


def threshold(scores: Iterable[Tensor], rate: float) -> float:
    """The score that a weight must exceed to stay: `sorted[int((n - 1) * rate)]`; below all scores at rate 0.

    Source: NNCF's magnitude sparsity, but for rate 0, at which it takes one weight.

    Example:
        >>> threshold([torch.tensor([3.0, 1.0]), torch.tensor([2.0])], 0.5)
        2.0
    """
    together = torch.cat([s.flatten() for s in scores])
    if rate <= 0 or not len(together):
        return -1.0
    # torch.quantile is limited to 2^24 values, and sorting is slower than selecting.
    return float(together.kthvalue(int((len(together) - 1) * rate) + 1).values)


def importance(weight: Tensor, kind: str) -> Tensor:
    """Of every weight: "abs" is |w|, "normed_abs" |w| / ||w||_2 of the layer, comparable between layers."""
    size = weight.detach().abs()
    return size / size.norm().clamp_min(1e-12) if kind == "normed_abs" else size


def scored(model: nn.Module, names: Iterable[str], kind: str) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, importance of every weight, and which of them are present, of each layer."""
    for name in names:
        layer: Any = model.get_submodule(name)
        yield name, importance(layer.weight, kind), entries_present(layer)
