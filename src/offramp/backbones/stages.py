"""Stages: the parts of a network between its cuts, as modules that share the network's parameters."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from offramp.backbones.carry import Carry, check_feature
from offramp.backbones.inputs import Signature, first_tensor
from offramp.backbones.spine import Spine, evaluating, trace
from offramp.errors import CutError

SIZES = (4, 7)
"""Batch sizes at which the values that cross a cut are classified."""

Visit = Callable[[int, Any], Tensor | None]
"""Called at every cut with its number and the value there. Returns the rows that go on: their index, None for all."""


class Stage(nn.Module):
    """One part of the network, from the values that cross the cut before it to those that cross the cut behind it.

    Args:
        body: graph of the part; its submodules and parameters are the network's own.
        name: the cut that ends it, or "output".
    """

    def __init__(self, body: fx.GraphModule, name: str) -> None:
        super().__init__()
        self.body = body
        self.name = name

    def forward(self, *values: Any) -> tuple[Any, tuple[Any, ...]]:
        """The value at the cut that ends the stage (for the last stage, the network's output), and the next carry."""
        return self.body(*values)  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class Chain:
    """A model divided into stages.

    Attributes:
        stages: in order; the last one ends in the model's own output.
        carries: for each cut, how the values that cross it follow when rows leave.
        signature: of the model's inputs.
        sources: which of the flat inputs the first stage takes.
        entered: the modules that were traced into, each with its children then.
        tensors: parameters and buffers that the stages use directly: owner, name, tensor.
    """

    stages: tuple[Stage, ...]
    carries: tuple[Carry, ...]
    signature: Signature
    sources: tuple[int, ...]
    entered: tuple[tuple[nn.Module, list[tuple[str, nn.Module]]], ...]
    tensors: tuple[tuple[nn.Module, str, Any], ...]

    def fresh(self) -> bool:
        """Whether the stages still hold the model's own modules and tensors (they may have been replaced)."""
        return all(list(module.named_children()) == children for module, children in self.entered) and all(
            getattr(owner, name, None) is value for owner, name, value in self.tensors
        )

    def start(self, leaves: Sequence[Any]) -> list[Any]:
        """The first stage's inputs out of the flat inputs."""
        return [leaves[i] for i in self.sources]

    def run(self, leaves: Sequence[Any], visit: Visit) -> None:
        """Runs the stages on the flat inputs until no row is left; `visit` is called behind each, see `Visit`."""
        values: Sequence[Any] = self.start(leaves)
        for k, stage in enumerate(self.stages):
            feature, values = stage(*values)
            index = visit(k, feature)
            if index is None or k == len(self.carries):
                continue
            if len(index) == 0:
                return
            values = self.carries[k].keep(values, index)


def cut(backbone: nn.Module, names: Sequence[str], signature: Signature, device: torch.device) -> Chain:
    """Divides a model behind the modules `names`, given in the order in which they run.

    Raises:
        CutError: a name does not run, runs repeatedly, is out of order, or what crosses it cannot follow a batch
            from which rows leave.
    """
    spine = trace(backbone, signature, inside={a for name in names for a in ancestors(name)})
    _check_marks(spine, names)
    with evaluating(backbone), torch.no_grad():
        return _classified(spine, names, signature, device)


def ancestors(name: str) -> list[str]:
    """The names of the modules above a module: `a.b.c` -> `["a", "a.b"]`."""
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _check_marks(spine: Spine, names: Sequence[str]) -> None:
    for name in names:
        if name in spine.repeated:
            raise CutError(
                f"Cannot cut at '{name}': it runs {spine.repeated[name]} times in one forward pass. Cut at a module "
                "around one of the calls, or give each call a module of its own."
            )
        if name not in spine.marks:
            raise CutError(
                f"Cannot cut at '{name}': it never runs in forward. See the places that do with offramp.inspect."
            )
    for before, after in itertools.pairwise(names):
        if spine.marks[before].position == spine.marks[after].position:
            raise CutError(
                f"The cuts '{before}' and '{after}' are the same place: nothing runs between them. Drop one."
            )
        if spine.marks[before].position > spine.marks[after].position:
            right = sorted(names, key=lambda n: spine.marks[n].position)
            raise CutError(f"The cuts are out of order: '{after}' runs before '{before}'. Write at={right}.")


def stage_numbers(graph: fx.Graph, positions: Sequence[int]) -> dict[fx.Node, int]:
    """Which stage each node belongs to when the graph is cut at these positions; -1 for the inputs.

    That is program order, except that taking an item from a tuple follows the tuple: without this exception a tuple of
    which only one item is used would cross the cut as a whole.
    """
    numbers: dict[fx.Node, int] = {}
    for i, node in enumerate(graph.nodes):
        if node.op == "placeholder":
            numbers[node] = -1
            continue
        numbers[node] = sum(i >= p for p in positions)
        source = node.args[0] if node.args else None
        if node.target is operator.getitem and isinstance(source, fx.Node) and isinstance(node.args[1], int):
            numbers[node] = numbers[source] if numbers[source] >= 0 else numbers[node]
    return numbers


def crossing(graph: fx.Graph, numbers: dict[fx.Node, int], k: int) -> list[fx.Node]:
    """Values made before or in stage k (inputs included) that a later stage reads, in order of creation."""
    return [node for node in graph.nodes if numbers[node] <= k and any(numbers[user] > k for user in node.users)]


def _build(spine: Spine, names: Sequence[str]) -> tuple[list[Stage], list[list[fx.Node]], list[int]]:
    numbers = stage_numbers(spine.graph, [spine.marks[name].position for name in names])
    placeholders = [node for node in spine.graph.nodes if node.op == "placeholder"]
    crossings = [crossing(spine.graph, numbers, k) for k in range(len(names))]
    stages = []
    for k in range(len(names) + 1):
        incoming = placeholders if k == 0 else crossings[k - 1]
        stages.append(_stage(spine, numbers, k, incoming, names, crossings))
    return stages, crossings, [int(node.name.removeprefix("input_")) for node in placeholders]


def _stage(
    spine: Spine,
    numbers: dict[fx.Node, int],
    k: int,
    incoming: list[fx.Node],
    names: Sequence[str],
    crossings: list[list[fx.Node]],
) -> Stage:
    graph = fx.Graph()
    new = {node: graph.placeholder(node.name) for node in incoming}
    for node in spine.graph.nodes:
        if numbers[node] == k and node.op != "output":
            new[node] = graph.node_copy(node, lambda n: new[n])
    if k < len(names):
        graph.output((new[spine.marks[names[k]].node], tuple(new[n] for n in crossings[k])))
        name = names[k]
    else:
        result = next(node for node in spine.graph.nodes if node.op == "output").args[0]
        graph.output((fx.map_arg(result, lambda n: new[n]), ()))
        name = "output"
    return Stage(fx.GraphModule(spine.backbone, graph, class_name=f"Stage{k}"), name)


def _classified(spine: Spine, names: Sequence[str], signature: Signature, device: torch.device) -> Chain:
    stages, crossings, sources = _build(spine, names)
    runs = []
    for rows in SIZES:
        leaves = signature.batch(rows, device)
        values: Sequence[Any] = [leaves[i] for i in sources]
        features, crossed = [], []
        for stage in stages:
            feature, values = stage(*values)
            features.append(feature)
            # A later stage may work in place: classify what crossed as it was then.
            crossed.append(tuple(v.clone() if isinstance(v, Tensor) else v for v in values))
        runs.append((features, crossed))
    carries = []
    for k, name in enumerate(names):
        try:
            check_feature(name, first_tensor(runs[0][0][k]), first_tensor(runs[1][0][k]), SIZES)
            carries.append(Carry.of([n.name for n in crossings[k]], runs[0][1][k], runs[1][1][k], SIZES))
        except CutError as error:
            raise CutError(f"Cannot cut at '{name}': {error}. {_advice(name)}") from error
    return Chain(tuple(stages), tuple(carries), signature, tuple(sources), _entered(spine, names), _tensors(spine))


def _advice(name: str) -> str:
    above = ancestors(name)
    nearest = (
        f"The nearest place that may do is the output of '{above[-1]}'"
        if above
        else "Try the module before or behind it"
    )
    return f"{nearest}; offramp.inspect lists every place that can be cut."


def _entered(spine: Spine, names: Sequence[str]) -> tuple[tuple[nn.Module, list[tuple[str, nn.Module]]], ...]:
    above = sorted({"", *(a for name in names for a in ancestors(name))})
    modules = [spine.backbone.get_submodule(name) for name in above]
    return tuple((module, list(module.named_children())) for module in modules)


def _tensors(spine: Spine) -> tuple[tuple[nn.Module, str, Any], ...]:
    found = []
    for node in spine.graph.nodes:
        if node.op == "get_attr":
            path, _, name = str(node.target).rpartition(".")
            owner = spine.backbone.get_submodule(path)
            found.append((owner, name, getattr(owner, name)))
    return tuple(found)
