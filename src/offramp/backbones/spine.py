"""Traces the spine of a model: containers are entered, all other children are called whole.

Only the forward methods of the modules above a cut are traced (by torch.fx); every other child stays one opaque
call, so its BatchNorm and dropout go on following `train()` and `eval()`, and its Python runs as written.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from offramp.backbones.inputs import Signature
from offramp.backbones.modes import trying
from offramp.backbones.traced import INPUT, Held, Mark, Traced, children, first_line
from offramp.errors import CutError

_TRACING = threading.Lock()
"""torch.fx patches `nn.Module` for the whole process while it traces, and two patches undo each other wrongly."""

STACKS = (nn.TransformerEncoder, nn.TransformerDecoder)
"""Modules of torch's own that are entered like a user's; its others are calculated whole."""


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
        self.entered: set[str] = set()
        self.opaque: dict[str, str] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Everything that is not entered."""
        return not self.enter(module_qualified_name, m)

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> Any:
        """One placeholder per input tensor, folded back into the model's own arguments."""
        leaves = [
            self.create_proxy("placeholder", f"{INPUT}{i}", (), {}) if isinstance(x, torch.Tensor) else x
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
        known, entered, before = dict(self.marks), set(self.entered), len(self.graph.nodes)
        if not self.is_leaf_module(m, name):
            self.entered.add(name)
        try:
            result = super().call_module(m, forward, args, kwargs)
        except Exception as error:
            if isinstance(error, CutError) or not self.lenient:
                raise error if isinstance(error, CutError) else _untraceable(name, m, error) from error
            self.marks, self.entered = known, entered
            self.opaque[name] = str(_untraceable(name, m, error))
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


def trace(backbone: nn.Module, signature: Signature, inside: set[str] | None = None) -> Traced:
    """Traces `backbone` in evaluation mode; its training flags are restored.

    Args:
        backbone: the model.
        signature: of its inputs.
        inside: names of the modules to enter; None enters every container that can be entered.

    Raises:
        CutError: the model, or a module to be entered, cannot be traced.
    """
    default = fx.Tracer()

    def enter(name: str, module: nn.Module) -> bool:
        if inside is not None:
            return name in inside
        return bool(children(module)) and (isinstance(module, STACKS) or not default.is_leaf_module(module, name))

    tracer = SpineTracer(enter, signature, lenient=inside is None)
    with _TRACING, trying(backbone):
        try:
            graph = tracer.trace(backbone)
        except CutError:
            raise
        except Exception as error:
            raise _untraceable("", backbone, error) from error
    marks = {name: mark for name, mark in tracer.marks.items() if tracer.calls[name] == 1}
    return Traced(
        engine="spine",
        root=backbone,
        graph=graph,
        marks=dict(sorted(marks.items(), key=lambda item: item[1].position)),
        held=_held(backbone, graph),
        entered=tuple((m, children(m)) for m in map(backbone.get_submodule, sorted({"", *tracer.entered}))),
        opaque=tracer.opaque,
    )


def _held(backbone: nn.Module, graph: fx.Graph) -> tuple[Held, ...]:
    paths = [str(node.target).rpartition(".") for node in graph.nodes if node.op == "get_attr"]
    return tuple(Held.by(backbone.get_submodule(path), name) for path, _, name in paths)


def _untraceable(name: str, module: nn.Module, error: Exception) -> CutError:
    if not name:
        return CutError(
            f"its own forward cannot be traced ({first_line(error)}); Python control flow that depends on tensors can "
            "be moved into a submodule, which is then called whole"
        )
    return CutError(
        f"the forward of '{name}' ({type(module).__name__}) cannot be divided ({first_line(error)}); its output can be "
        f"a cut: at='{name}'"
    )
