"""One forward pass through a model with an eye on every module: when it returned, and what had been spent by then."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from offramp.backbones.inputs import Signature
from offramp.backbones.outputs import first_tensor
from offramp.cost import counting_macs


@dataclass(frozen=True, eq=False)
class Stop:
    """A module that ran once.

    Attributes:
        name: as in `named_modules()`.
        shape: of the first tensor of its output; None where there is none.
        size: of that tensor in bytes.
        macs: MACs spent when it returned.
        parameters: number of parameters used by then.
    """

    name: str
    shape: tuple[int, ...] | None
    size: int
    macs: float
    parameters: int


def tour(backbone: nn.Module, signature: Signature, rows: int, device: torch.device) -> list[Stop]:
    """The modules of a model that run once, in the order in which they return; the model itself is the last."""
    stops: list[Stop] = []
    args, kwargs = signature.unflatten(signature.batch(rows, device))
    with counting_macs() as total, _watching(backbone, stops, total):
        backbone(*args, **kwargs)
    calls = Counter(stop.name for stop in stops)
    return [stop for stop in stops if calls[stop.name] == 1]


@contextmanager
def _watching(backbone: nn.Module, stops: list[Stop], total: Callable[[], float]) -> Iterator[None]:
    thread = threading.get_ident()
    used: dict[int, int] = {}

    def hooks(name: str) -> tuple[Callable[[nn.Module, Any], None], Callable[[nn.Module, Any, Any], None]]:
        def start(module: nn.Module, inputs: Any) -> None:
            if threading.get_ident() == thread:
                used.update({id(p): p.numel() for p in module.parameters(recurse=False)})

        def end(module: nn.Module, inputs: Any, output: Any) -> None:
            if threading.get_ident() == thread:
                # All that is inside, as some modules use the parameters of others without calling them.
                used.update({id(p): p.numel() for p in module.parameters()})
                seen = first_tensor(output)
                shape, size = (None, 0) if seen is None else (tuple(seen.shape), seen.nbytes)
                stops.append(Stop(name, shape, size, total(), sum(used.values())))

        return start, end

    handles = []
    try:
        for name, module in backbone.named_modules():
            start, end = hooks(name)
            handles += [module.register_forward_pre_hook(start), module.register_forward_hook(end)]
        yield
    finally:
        for handle in handles:
            handle.remove()
