"""How rows are taken out of tensors, and put together, between segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

IN_ARRAYS = ("onnxruntime", "openvino")
"""Backends with threads of their own that give arrays in the default layout."""


class Rows(Protocol):
    """Moves rows of the tensors that cross a cut."""

    def keep(self, tensors: Sequence[Tensor], index: Tensor) -> list[Tensor]:
        """The rows `index` `[r]` of each of the tensors `[m, ...]`."""

    def join(self, parts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """The rows of all parts, one behind the other; each part has the same tensors."""


class TensorRows:
    """By torch, in its threads; images stay in the layout they have."""

    def keep(self, tensors: Sequence[Tensor], index: Tensor) -> list[Tensor]:
        """See `Rows`."""
        # Plain indexing, unlike index_select, keeps the channels-last layout.
        return [t[index] for t in tensors]

    def join(self, parts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """See `Rows`."""
        return [torch.cat(tensors) for tensors in zip(*parts, strict=True)]


class ArrayRows:
    """By numpy, in the calling thread.

    Torch would wake its own threads for this, and they go on spinning for a while: beside those of another runtime,
    more threads are then busy than there are cores.
    """

    def keep(self, tensors: Sequence[Tensor], index: Tensor) -> list[Tensor]:
        """See `Rows`."""
        places = index.numpy()
        return [torch.from_numpy(t.numpy()[places]) for t in tensors]

    def join(self, parts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """See `Rows`."""
        return [torch.from_numpy(np.concatenate([t.numpy() for t in tensors])) for tensors in zip(*parts, strict=True)]


def rows_for(backend: str) -> Rows:
    """What moves rows between the programs of a backend."""
    return ArrayRows() if backend in IN_ARRAYS else TensorRows()
