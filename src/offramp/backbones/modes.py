"""How a model stands before and after offramp has run it: its mode, and where it is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Puts a module in evaluation mode and restores each submodule's own mode afterwards."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, training in modes:
            m.training = training


@contextmanager
def trying(module: nn.Module) -> Iterator[None]:
    """For running a model on trial: evaluation mode, no gradients, and the random state as if nothing had been run."""
    with evaluating(module), torch.no_grad(), torch.random.fork_rng(devices=[]):
        yield


def device_of(module: nn.Module) -> torch.device:
    """Device of a module's first parameter or buffer; the CPU where it has none."""
    # Asked at every call of a runtime, and `parameters()`, which builds names and looks for duplicates, takes long.
    for part in module.modules():
        for tensor in itertools.chain(part._parameters.values(), part._buffers.values()):
            if tensor is not None:
                return tensor.device
    return torch.device("cpu")
