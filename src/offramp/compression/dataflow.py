"""Who makes the tensors that a module reads: one forward pass, watched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from offramp.backbones import arguments, device_of, evaluating, map_tensors
from offramp.backbones.outputs import tensors_in
from offramp.compression.layers import can_transform

JOINS = ("add", "add_", "__add__", "__iadd__", "__radd__", "cat", "concat")
"""Functions that read several tensors and run on integers only if all of these are quantized."""


@dataclass
class Dataflow:
    """What was seen; a name is that of a leaf: a layer, or a module without children.

    Attributes:
        reads: for each leaf, the number of the tensor it reads first.
        maker: for each tensor, the leaf that made it; None for functions and inputs of the model.
        joined: tensors that were added or concatenated.
        readers: for each tensor, how many leaves and functions read it.
        calls: how often each leaf ran.
        inputs: tensors that are inputs of the model.
        ranks: number of dimensions of each tensor.
    """

    reads: dict[str, int] = field(default_factory=dict)
    maker: dict[int, str | None] = field(default_factory=dict)
    joined: set[int] = field(default_factory=set)
    readers: Counter[int] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    inputs: set[int] = field(default_factory=set)
    ranks: dict[int, int] = field(default_factory=dict)

    def maker_for(self, tensor: int) -> str | None:
        """The leaf that made a tensor, if it ran only once."""
        maker = self.maker.get(tensor)
        return maker if maker is not None and self.calls[maker] == 1 else None

    def only_reader(self, leaf: str) -> bool:
        """Whether nobody else reads what this leaf reads."""
        return leaf in self.reads and self.readers[self.reads[leaf]] == 1


def is_leaf(module: nn.Module) -> bool:
    """Whether a module is watched as one step."""
    return can_transform(module) or next(module.children(), None) is None


def watch(model: nn.Module, example: Any) -> Dataflow:
    """Runs a model once, in evaluation mode.

    Args:
        model: not changed.
        example: inputs of a batch, as the model takes them.
    """
    args, kwargs = arguments(map_tensors(lambda t: t.to(device_of(model)), example))
    watcher = _Watcher(model)
    flow = watcher.flow
    flow.inputs = {watcher.number(t) for t in _tensors((args, kwargs))}
    watcher.made(_tensors((args, kwargs)), None)
    with evaluating(model), torch.no_grad(), torch.random.fork_rng(devices=[]), watcher.listening(), watcher:
        model(*args, **kwargs)
    return flow


class _Watcher(TorchFunctionMode):
    """Numbers tensors as they come and go; functions inside of leaves do not count."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.leaves = {name: m for name, m in model.named_modules() if is_leaf(m)}
        self.flow = Dataflow()
        self.depth = 0
        self.kept: list[Tensor] = []
        self.numbers: dict[tuple[int, int], int] = {}

    def number(self, tensor: Tensor) -> int:
        """A tensor's number; a new one once it is changed in place, the same where a module passes it on."""
        key = (id(tensor), tensor._version)
        if key not in self.numbers:
            self.kept.append(tensor)  # so that no other tensor gets its id
            self.numbers[key] = len(self.kept)
            self.flow.ranks[len(self.kept)] = tensor.ndim
        return self.numbers[key]

    def made(self, tensors: Sequence[Tensor], by: str | None) -> None:
        """Remembers who made them, unless they were there before."""
        for tensor in tensors:
            self.flow.maker.setdefault(self.number(tensor), by)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hooks on all leaves."""
        handles = []
        for name, leaf in self.leaves.items():
            handles.append(leaf.register_forward_pre_hook(self._entered(name)))
            handles.append(leaf.register_forward_hook(self._left(name)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _entered(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any) -> None:
            self.depth += 1
            numbers = [self.number(t) for t in _tensors(args)]
            self.flow.readers.update(numbers)
            if numbers:
                self.flow.reads[name] = numbers[0]

        return hook

    def _left(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            self.depth -= 1
            self.flow.calls[name] += 1
            self.made(_tensors(output), name)

        return hook

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Sees every function of torch that is called on tensors."""
        result = func(*args, **(kwargs or {}))
        if self.depth == 0 and (made := _tensors(result)):
            read = [self.number(t) for t in _tensors((args, kwargs or {}))]
            self.flow.readers.update(read)
            if getattr(func, "__name__", "") in JOINS and len(read) > 1:
                self.flow.joined.update(read)
            self.made(made, None)
        return result


def _tensors(value: Any) -> Sequence[Tensor]:
    return [t for t in tensors_in(value) if t is not None]
