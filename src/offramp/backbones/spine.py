"""Traces the spine of a model: containers are entered, all other children are called whole.

Only the forward methods of the modules above a cut are traced (by torch.fx); every other child stays one opaque
call, so its BatchNorm and dropout go on following `train()` and `eval()`, and its Python runs as written.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from offramp.backbones.inputs import Signature
from offramp.errors import CutError

_TRACING = threading.Lock()
"""torch.fx patches `nn.Module` for the whole process while it traces, and two patches undo each other wrongly."""


@dataclass(frozen=True, eq=False)
class Mark:
    """Where in the graph a module returned.

    Attributes:
        position: number of graph nodes before the point.
        node: the (first) value that the module returned.
    """

    position: int
    node: fx.Node


@dataclass(frozen=True, eq=False)
class Spine:
    """A traced model.

    Attributes:
        backbone: the model; the graph calls its submodules, it owns nothing.
        graph: the whole forward pass, placeholders (one per input tensor) first.
        marks: for every module that was called once, in order of return, where it returned.
        repeated: modules that were called several times, with the count; they are no places to cut.
        opaque: containers that could not be entered, with the reason.
    """

    backbone: nn.Module
    graph: fx.Graph
    marks: dict[str, Mark]
    repeated: dict[str, int]
    opaque: dict[str, str]


class SpineTracer(fx.Tracer):
    """Enters the modules for which `enter(name, module)` holds.

    Args:
        enter: which modules to trace into; the others are called whole.
        signature: of the model's inputs; tensors become placeholders, other values are fixed.
        lenient: call a module whole when tracing into it fails, instead of raising.
    """

    def __init__(self, enter: Callable[[str, nn.Module], bool], signature: Signature, lenient: bool) -> None:
        super().__init__()
        self.enter = enter
        self.signature = signature
        self.lenient = lenient
        self.thread = threading.get_ident()
        self.calls: Counter[str] = Counter()
        self.marks: dict[str, Mark] = {}
        self.opaque: dict[str, str] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Everything that is not entered."""
        return not self.enter(module_qualified_name, m)

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> Any:
        """One placeholder per input tensor, folded back into the model's own arguments."""
        leaves = [
            self.create_proxy("placeholder", f"input_{i}", (), {}) if isinstance(x, torch.Tensor) else x
            for i, x in enumerate(self.signature.leaves)
        ]
        args, kwargs = self.signature.unflatten(leaves)

        def call(root: nn.Module) -> Any:
            return root_fn(root, *args, **kwargs)

        return call, [self.root]

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Traces into a container or records one opaque call, and marks where it returned."""
        if threading.get_ident() != self.thread:
            return forward(*args, **kwargs)
        name = self.path_of_module(m)
        known, before = dict(self.marks), len(self.graph.nodes)
        try:
            result = super().call_module(m, forward, args, kwargs)
        except Exception as error:
            if isinstance(error, CutError) or not self.lenient:
                raise error if isinstance(error, CutError) else _untraceable(name, m, error) from error
            self.opaque[name] = _first_line(error)
            self.marks = known
            self._forget(before)
            result = self.create_proxy("call_module", name, args, kwargs)
        self.calls[name] += 1
        proxies = [x for x in pytree.tree_leaves(result) if isinstance(x, fx.Proxy)]
        if proxies:
            self.marks[name] = Mark(len(self.graph.nodes), proxies[0].node)
        return result

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Parameters as proxies, except where another thread runs the model meanwhile."""
        if threading.get_ident() != self.thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def _forget(self, before: int) -> None:
        for node in reversed(list(self.graph.nodes)[before:]):
            self.graph.erase_node(node)


def trace(backbone: nn.Module, signature: Signature, inside: set[str] | None = None) -> Spine:
    """Traces `backbone` in evaluation mode; its training flags are restored.

    Args:
        backbone: the model.
        signature: of its inputs.
        inside: names of the modules to enter; None enters every container that can be entered.

    Raises:
        CutError: the model, or a module to be entered, cannot be traced.
    """
    if inside is None:
        default = fx.Tracer()
        tracer = SpineTracer(
            lambda n, m: not default.is_leaf_module(m, n) and _has_children(m), signature, lenient=True
        )
    else:
        names = inside
        tracer = SpineTracer(lambda n, m: n in names, signature, lenient=False)
    with _TRACING, evaluating(backbone), torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            graph = tracer.trace(backbone)
        except CutError:
            raise
        except Exception as error:
            raise _untraceable("", backbone, error) from error
    repeated = {name: count for name, count in tracer.calls.items() if count > 1}
    marks = {name: mark for name, mark in tracer.marks.items() if name not in repeated}
    return Spine(backbone, graph, dict(sorted(marks.items(), key=lambda kv: kv[1].position)), repeated, tracer.opaque)


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


def _has_children(module: nn.Module) -> bool:
    return next(module.children(), None) is not None


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"


def _untraceable(name: str, module: nn.Module, error: Exception) -> CutError:
    if not name:
        return CutError(
            f"{type(module).__name__} cannot be cut: its own forward cannot be traced ({_first_line(error)}). "
            "Move the Python control flow that depends on tensors into a submodule; it is then called whole."
        )
    return CutError(
        f"Cannot cut inside '{name}' ({type(module).__name__}): its forward cannot be divided "
        f"({_first_line(error)}). The nearest place is its output: at='{name}'."
    )
