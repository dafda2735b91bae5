"""Batch norms after a compression: their statistics are those of the model before, until they see data again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from offramp.backbones import arguments, device_of, evaluating, first_tensor, map_tensors
from offramp.errors import CompressionError
from offramp.recording import unpack


def adapt_batch_norms(model: nn.Module, batches: Iterable[Any], samples: int) -> int:
    """Replaces the running mean and variance of every batch norm by those of real data through the model as it is now.

    The means over batches are plain ones, each batch counting alike; what was running before is forgotten. Everything
    but the batch norms is in evaluation mode, so dropout is off; weights, modes and random state stay as they were.

    Args:
        model: its own mode is restored afterwards.
        batches: of `(inputs, labels)`, see `offramp.recording.unpack`; read until there are enough samples.
        samples: how many to use, in whole batches.

    Returns:
        The number of samples used; 0 where the model has no batch norm with statistics, or none were asked for.

    Raises:
        CompressionError: there are no batches.

    Example:
        >>> norm = nn.BatchNorm1d(1)
        >>> adapt_batch_norms(norm, [torch.full((8, 1), 3.0)], samples=8), norm.running_mean
        (8, tensor([3.]))
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if samples < 1 or not norms:
        return 0
    device, seen = device_of(model), 0
    with evaluating(model), _learning(norms), torch.no_grad(), torch.random.fork_rng(devices=[]):
        for batch in batches:
            args, kwargs = arguments(map_tensors(lambda t: t.to(device), unpack(batch)[0]))
            model(*args, **kwargs)
            seen += _rows(args, kwargs)
            if seen >= samples:
                break
    if not seen:
        raise CompressionError(
            f"Batch norms cannot be adapted to {samples} samples: there are no batches. Give data, or set "
            "num_bn_adaptation_samples to 0."
        )
    return seen


@contextmanager
def _learning(norms: list[_BatchNorm]) -> Iterator[None]:
    """Fresh statistics, averaged over all that comes; the norms' momentum is put back afterwards."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.training = True
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _rows(args: Any, kwargs: Any) -> int:
    tensor: Tensor | None = first_tensor((args, kwargs))
    return 0 if tensor is None else len(tensor)
