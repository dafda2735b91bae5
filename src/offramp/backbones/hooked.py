"""Runs a model's own forward pass and lets rows leave from inside of it: for models that no tracing can follow.

Hooks at the cuts ask who goes on and return the output of the others. What later modules are still given with all rows
is cut down when it arrives there. When nobody is left, an exception that only this file knows ends the pass.

What does not pass through a module on its way, such as the shortcut around half a residual block, keeps all its rows,
so that the next operation fails or gives other results; the self-check then refuses this engine.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from offramp.backbones.carry import SIZES
from offramp.backbones.inputs import Arguments, Signature
from offramp.backbones.modes import trying
from offramp.backbones.outputs import final_logits, map_tensors, tensors_in
from offramp.backbones.stages import Division, Visit
from offramp.errors import InputError

Call = tuple[str, int]
"""A module's name, and how many calls of it came before in the same pass."""

BEFORE, AFTER = 0, 1


class _Nobody(BaseException):
    """Ends a forward pass. No `Exception`, which the model might catch."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Hooked(Division):
    """A model whose rows leave through hooks.

    Attributes:
        backbone: the model.
        names: of the modules behind which it is cut.
        batched: for each call, which tensors among its arguments have rows; for each cut, which of its output.
    """

    backbone: nn.Module
    names: tuple[str, ...]
    batched: Mapping[tuple[int, Call], tuple[bool, ...]]

    def returned(self, name: str) -> int:
        """How many tensors with rows a cut returns."""
        return sum(self.batched.get((AFTER, (name, 1)), ()))

    def fresh(self) -> bool:
        """Always: it is the model itself that is run."""
        return True

    def run(self, leaves: Sequence[Any], visit: Visit) -> None:
        """See `Division.run`."""
        rows = next(len(x) for x, has in zip(leaves, self.signature.has_rows, strict=True) if has)
        passing = _Pass(self, rows, visit)
        args, kwargs = self.signature.unflatten(list(leaves))
        try:
            with _hooks(self.backbone, self.names, passing.arrive, passing.leave):
                output = self.backbone(*args, **kwargs)
        except _Nobody:
            return
        visit(len(self.names), passing.compacted(final_logits(output), (True,)))


def divide(backbone: nn.Module, names: Sequence[str], signature: Signature, device: torch.device) -> Hooked:
    """Notes, at two batch sizes, which arguments of which modules have rows."""
    small, large = (_lengths(backbone, names, signature, rows, device) for rows in SIZES)
    batched = {
        call: tuple((a, b) == SIZES for a, b in zip(small[call], large[call], strict=True))
        for call in small.keys() & large.keys()
        if len(small[call]) == len(large[call])
    }
    return Hooked(
        engine="hooks",
        signature=signature,
        sources=tuple(i for i, x in enumerate(signature.leaves) if isinstance(x, Tensor)),
        backbone=backbone,
        names=tuple(names),
        batched=batched,
    )


class _Pass:
    """One forward pass: who is still in it.

    Args:
        division: what is run.
        rows: how many rows there are.
        visit: see `Division.run`.
    """

    def __init__(self, division: Hooked, rows: int, visit: Visit) -> None:
        self.division = division
        self.rows = rows
        self.visit = visit
        self.exit = 0
        self.earlier: dict[int, Tensor] = {}
        """For each number of rows that there were before, where the present ones stood."""

    def arrive(self, call: Call, args: Any) -> Any:
        """The arguments of a call with the present rows only."""
        return self.compacted(args, self.division.batched.get((BEFORE, call))) if self.earlier else args

    def leave(self, call: Call, output: Any) -> Any:
        """The output of a cut with the rows only that go on."""
        index = self.visit(self.exit, output)
        self.exit += 1
        if index is None:
            return output
        if len(index) == 0:
            raise _Nobody
        if len(index) == self.rows:
            return self._all_of(index, output)
        self.earlier = {rows: where[index] for rows, where in self.earlier.items()} | {self.rows: index}
        self.rows = len(index)
        return self.compacted(output, self.division.batched.get((AFTER, call)))

    def compacted(self, value: Any, batched: Sequence[bool] | None) -> Any:
        """A value with the present rows only; without knowing which tensors have rows, their length decides."""
        tensors = tensors_in(value)
        known = batched if batched is not None and len(batched) == len(tensors) else [True] * len(tensors)
        following = iter([has for has, tensor in zip(known, tensors, strict=True) if tensor is not None])
        return map_tensors(lambda t: self._kept(t) if next(following) else t, value)

    def _kept(self, tensor: Tensor) -> Tensor:
        where = self.earlier.get(len(tensor)) if tensor.ndim else None
        return tensor if where is None else tensor[where]

    def _all_of(self, index: Tensor, output: Any) -> Any:
        if not torch.equal(index, torch.arange(self.rows, device=index.device)):
            raise InputError("A model that is cut by hooks lets rows leave, but not change places: keep them in order.")
        return output


def _lengths(
    backbone: nn.Module, names: Sequence[str], signature: Signature, rows: int, device: torch.device
) -> dict[tuple[int, Call], tuple[int, ...]]:
    """The first dimension of every argument of every call, and of every output of the cuts; -1 for other values."""
    found: dict[tuple[int, Call], tuple[int, ...]] = {}

    def note(side: int) -> Callable[[Call, Any], Any]:
        def noting(call: Call, value: Any) -> Any:
            found[side, call] = tuple(len(t) if t is not None and t.ndim else -1 for t in tensors_in(value))
            return value

        return noting

    args, kwargs = signature.unflatten(signature.batch(rows, device))
    with trying(backbone), _hooks(backbone, names, note(BEFORE), note(AFTER)):
        backbone(*args, **kwargs)
    return found


@contextmanager
def _hooks(
    backbone: nn.Module, cuts: Sequence[str], arrive: Callable[[Call, Any], Any], leave: Callable[[Call, Any], Any]
) -> Iterator[None]:
    """Passes the arguments of all modules, and the outputs of the cuts, through functions; for this thread only."""
    thread, calls = threading.get_ident(), Counter[str]()

    def before(name: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Arguments | None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments | None:
            if threading.get_ident() != thread:
                return None
            calls[name] += 1
            new: Arguments = arrive((name, calls[name]), (args, kwargs))
            return new

        return hook

    def behind(name: str) -> Callable[[nn.Module, Any, Any], Any]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            return leave((name, 1), output) if threading.get_ident() == thread else None

        return hook

    handles: list[RemovableHandle] = []
    try:
        for name, module in backbone.named_modules():
            handles.append(module.register_forward_pre_hook(before(name), with_kwargs=True))
        for name in cuts:
            handles.append(backbone.get_submodule(name).register_forward_hook(behind(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()
