"""The build-time self-check: the stages, with rows leaving between them, give what the plain model gives.

Rows are also run without the others: a model that mixes them ahead of its first cut would pass the stages' check, and
still decide by who else is in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from offramp.backbones.spine import evaluating
from offramp.backbones.stages import Chain
from offramp.errors import CutError

BATCHES = (7, 4, 1)


def check(chain: Chain, backbone: nn.Module, device: torch.device, read: Callable[[Any], Tensor]) -> None:
    """Compares stages and model at three batch sizes, and again with every second row leaving at every cut.

    Args:
        chain: the stages.
        backbone: the model they were cut from.
        device: where it is.
        read: takes the logits out of the model's output.

    Raises:
        CutError: they differ: the model mixes rows of the batch, keeps state, or draws random numbers.
    """
    with evaluating(backbone), torch.no_grad():
        for rows in BATCHES:
            everyone, kept = torch.arange(rows), _survivors(rows, len(chain.carries))
            expected = read(_plain(chain, backbone, device, rows, everyone))
            if not close(read(_staged(chain, device, rows, leave=False)), expected):
                raise CutError(
                    f"{type(backbone).__name__} gives other outputs when run in stages, at {rows} rows. It keeps "
                    "state from call to call, or draws random numbers in evaluation mode; neither can be cut."
                )
            if not close(read(_plain(chain, backbone, device, rows, kept)), expected[kept]):
                raise CutError(
                    f"{type(backbone).__name__} gives a row other outputs when other rows leave: it mixes the rows "
                    "of a batch (or the first dimension of its inputs is not the batch). It cannot take exits."
                )
            if not close(read(_staged(chain, device, rows, leave=True)), expected[kept]):
                raise CutError(
                    f"{type(backbone).__name__} gives other outputs when rows leave between its stages: values that "
                    "cross a cut share memory and one is changed in place. Cut elsewhere, or make that a copy."
                )


def _plain(chain: Chain, backbone: nn.Module, device: torch.device, rows: int, index: Tensor) -> Any:
    """The model's output for some rows of a batch, run without the others."""
    leaves = chain.signature.take(chain.signature.batch(rows, device), index)
    args, kwargs = chain.signature.unflatten(leaves)
    return backbone(*args, **kwargs)


def _staged(chain: Chain, device: torch.device, rows: int, leave: bool) -> Any:
    """The stages' output, with every second row leaving at every cut or with none."""
    values: Sequence[Any] = chain.start(chain.signature.batch(rows, device))
    for stage, carry in zip(chain.stages, chain.carries, strict=False):
        _, values = stage(*values)
        if leave:
            values = carry.keep(values, _every_second(rows).to(device))
            rows = len(_every_second(rows))
    return chain.stages[-1](*values)[0]


def _every_second(rows: int) -> Tensor:
    return torch.arange(0, rows, 2)


def _survivors(rows: int, cuts: int) -> Tensor:
    kept = torch.arange(rows)
    for _ in range(cuts):
        kept = kept[::2]
    return kept


def close(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal up to the rounding of their type, relative to the largest value."""
    if a.shape != b.shape:
        return False
    scale = float(b.abs().max()) if b.numel() else 0.0
    tolerance = 1e-4 if b.dtype.itemsize >= 4 else 3e-2
    return bool(torch.allclose(a, b, rtol=tolerance, atol=tolerance * max(scale, 1e-6), equal_nan=True))
