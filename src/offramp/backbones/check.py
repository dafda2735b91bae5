"""The build-time self-check: the stages, with rows leaving between them, give what the plain model gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from offramp.backbones.inputs import first_tensor
from offramp.backbones.spine import evaluating
from offramp.backbones.stages import Chain
from offramp.errors import CutError

BATCHES = (7, 4, 1)


def check(chain: Chain, backbone: nn.Module, device: torch.device) -> None:
    """Compares stages and model at three batch sizes, and again with every second row leaving at every cut.

    Raises:
        CutError: they differ: the model mixes rows of the batch, keeps state, or draws random numbers.
    """
    with evaluating(backbone), torch.no_grad():
        for rows in BATCHES:
            expected = _plain(chain, backbone, rows, device)
            if not _close(_staged(chain, rows, device, leave=False), expected):
                raise CutError(
                    f"{type(backbone).__name__} gives other outputs when run in stages, at {rows} rows. It keeps "
                    "state from call to call, or draws random numbers in evaluation mode; neither can be cut."
                )
            kept = _survivors(rows, len(chain.carries))
            if not _close(_staged(chain, rows, device, leave=True), expected[kept]):
                raise CutError(
                    f"{type(backbone).__name__} gives a row other outputs when other rows leave: it mixes the rows "
                    "of a batch (or the first dimension of its inputs is not the batch). It cannot take exits."
                )


def _plain(chain: Chain, backbone: nn.Module, rows: int, device: torch.device) -> Tensor:
    args, kwargs = chain.signature.unflatten(chain.signature.batch(rows, device))
    return _tensor(backbone(*args, **kwargs))


def _staged(chain: Chain, rows: int, device: torch.device, leave: bool) -> Tensor:
    values: Sequence[Any] = chain.start(chain.signature.batch(rows, device))
    for stage, carry in zip(chain.stages, chain.carries, strict=False):
        _, values = stage(*values)
        if leave:
            values = carry.keep(values, _every_second(rows).to(device))
            rows = len(_every_second(rows))
    result, _ = chain.stages[-1](*values)
    return _tensor(result)


def _every_second(rows: int) -> Tensor:
    return torch.arange(0, rows, 2)


def _survivors(rows: int, cuts: int) -> Tensor:
    kept = torch.arange(rows)
    for _ in range(cuts):
        kept = kept[::2]
    return kept


def _tensor(output: Any) -> Tensor:
    found = first_tensor(output)
    if found is None:
        raise CutError(
            f"The model's output holds no tensor ({type(output).__name__}), so there are no logits to compare."
        )
    return found


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    scale = float(b.abs().max()) if b.numel() else 0.0
    tolerance = 1e-4 if b.dtype.itemsize >= 4 else 3e-2
    return bool(torch.allclose(a, b, rtol=tolerance, atol=tolerance * max(scale, 1e-6), equal_nan=True))
