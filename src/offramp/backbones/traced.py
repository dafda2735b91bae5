"""A model's forward pass as one graph, with the places in it where its modules returned."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from offramp.backbones.inputs import Signature

INPUT = "input_"
"""Placeholders are named after the flat inputs that they stand for: `input_0`, ..."""


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
class Held:
    """A parameter, buffer or module that a graph uses, as it was when the graph was made.

    Attributes:
        shelf: the dictionary of the module that owns it.
        name: its key there.
        value: the thing itself.
        kept: what else must not change: a tensor's device and type, which a graph may have in it as constants.
    """

    shelf: Mapping[str, Any]
    name: str
    value: Any
    kept: tuple[Any, ...]

    @classmethod
    def by(cls, owner: nn.Module, name: str) -> Held:
        """What the module `owner` holds as `name`."""
        shelves = (owner._parameters, owner._buffers, owner._modules, vars(owner))
        shelf: Mapping[str, Any] = next((s for s in shelves if name in s), {})
        value = getattr(owner, name)
        return cls(shelf, name, value, _kept(value))

    def fresh(self) -> bool:
        """Whether it still is where it was."""
        return self.shelf.get(self.name) is self.value and _kept(self.value) == self.kept


def _kept(value: Any) -> tuple[Any, ...]:
    return (value.device, value.dtype) if isinstance(value, Tensor) else ()


@dataclass(frozen=True, eq=False)
class Traced:
    """A traced model.

    Attributes:
        engine: how it was traced, "spine" or "export".
        root: what the graph's modules and tensors are found in: the model, or a dictionary by name.
        graph: the whole forward pass, placeholders (one per input tensor) first.
        marks: for every module that was called once, in order of return, where it returned.
        held: the parameters and buffers that the graph uses directly.
        entered: the modules that were traced into, each with its children then.
        opaque: containers that were to be entered and could not be, with the reason.
    """

    engine: str
    root: nn.Module | dict[str, Any]
    graph: fx.Graph
    marks: dict[str, Mark]
    held: tuple[Held, ...]
    entered: tuple[tuple[nn.Module, list[nn.Module | None]], ...]
    opaque: Mapping[str, str] = field(default_factory=dict)

    @property
    def placeholders(self) -> list[fx.Node]:
        """The nodes that stand for inputs."""
        return [node for node in self.graph.nodes if node.op == "placeholder"]

    @property
    def sources(self) -> tuple[int, ...]:
        """Which of the flat inputs these are."""
        return tuple(int(str(node.target).removeprefix(INPUT)) for node in self.placeholders)

    def weighs(self, node: fx.Node) -> bool:
        """Whether a node brings weights in: a parameter, or a module that has some."""
        if node.op == "get_attr":
            return isinstance(found_in(self.root, str(node.target)), nn.Parameter)
        if node.op == "call_module":
            module = found_in(self.root, str(node.target))
            return next(module.parameters(), None) is not None
        return False

    def values(self, signature: Signature, rows: int, device: torch.device) -> dict[fx.Node, Any]:
        """Every value of the graph, for a batch of so many rows."""
        interpreter = fx.Interpreter(fx.GraphModule(self.root, self.graph), garbage_collect_values=False)
        leaves = signature.batch(rows, device)
        interpreter.run(*(leaves[i] for i in self.sources))
        return interpreter.env


def found_in(root: nn.Module | dict[str, Any], name: str) -> Any:
    """What a graph finds under a name in its root."""
    return root[name] if isinstance(root, dict) else operator.attrgetter(name)(root)


def children(module: nn.Module) -> list[nn.Module | None]:
    """A module's children, the same one as often as it has names."""
    return list(module._modules.values())


def first_line(error: BaseException) -> str:
    """An error in one line, for a message that quotes it."""
    said = str(error).strip()
    return f"{type(error).__name__}: {said.splitlines()[0] if said else 'no message'}"
