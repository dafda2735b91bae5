"""Peak memory of a call: what torch holds for values, weights and inputs not counted."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from offramp.latency import Call

MEANING = "activations, carries and outputs alive at once; without weights, inputs and the scratch memory of kernels"
MEANING_ON_GPU = "what torch allocates on the GPU beyond what was there before the call"


def meaning(device: torch.device) -> str:
    """What is counted on a device, in words."""
    return MEANING_ON_GPU if device.type == "cuda" else MEANING


def visible(backend: str, device: torch.device) -> bool:
    """Whether the memory of a backend can be counted there."""
    return backend == "eager" or (device.type == "cuda" and backend in ("compile", "aoti"))


def peak_bytes(call: Call, device: torch.device) -> int:
    """The most memory that a call needs at once.

    On a GPU, what torch's allocator counts. Elsewhere, the sizes of the results that operations make, from the moment
    they are made until nothing refers to them; only for calls that run torch operation by operation ("eager").
    """
    if device.type == "cuda":
        return _peak_on_gpu(call, device)
    with _Results() as results:
        call()
    peak: int = results.peak
    return peak


def _peak_on_gpu(call: Call, device: torch.device) -> int:
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    call()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device)) - before


class _Results(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the memory of every result from its making to its release."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._alive: dict[int, int] = {}
        self._given: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        for value in pytree.tree_leaves((args, kwargs)):
            if isinstance(value, Tensor) and _key(value) not in self._alive:
                self._given.add(_key(value))  # a weight or an input: was there before
        out = func(*args, **(kwargs or {}))
        for value in pytree.tree_leaves(out):
            if isinstance(value, Tensor):
                self._enter(value)
        return out

    def _enter(self, value: Tensor) -> None:
        key = _key(value)
        if key in self._alive or key in self._given:
            return  # a view, or written in place
        storage = value.untyped_storage()
        self._alive[key] = storage.nbytes()
        self.peak = max(self.peak, sum(self._alive.values()))
        weakref.finalize(storage, self._alive.pop, key, None)


def _key(value: Tensor) -> int:
    return int(value.untyped_storage()._cdata)
