"""Divides a traced model behind its cuts, and finds out how what crosses them follows when rows leave."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from offramp.backbones.carry import SIZES, Carry
from offramp.backbones.inputs import Signature
from offramp.backbones.stages import Chain, Stage
from offramp.backbones.traced import Traced
from offramp.errors import CutError


def divide(traced: Traced, names: Sequence[str], signature: Signature, device: torch.device) -> Chain:
    """The stages of a traced model, cut behind the modules `names`, given in the order in which they run.

    Raises:
        CutError: the trace does not show a module return, or what crosses a cut cannot follow a batch from which rows
            leave.
    """
    for name in names:
        if name not in traced.marks:
            raise CutError(f"no place in the traced graph belongs to the output of '{name}'")
    numbers = stage_numbers(traced.graph, [traced.marks[name].position for name in names])
    shown = [traced.marks[name].node for name in names]
    crossings = [crossing(traced.graph, numbers, k, shown[k + 1 :]) for k in range(len(names))]
    stages = _stages(traced, numbers, crossings, names)
    return Chain(
        engine=traced.engine,
        signature=signature,
        sources=traced.sources,
        stages=stages,
        carries=_carries(stages, crossings, traced.sources, signature, device),
        entered=traced.entered,
        held=traced.held,
    )


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


def crossing(graph: fx.Graph, numbers: dict[fx.Node, int], k: int, shown: Sequence[fx.Node] = ()) -> list[fx.Node]:
    """Values made before or in stage k (inputs included) that a later stage reads or shows, in order of creation.

    The model's own parameters and buffers do not cross: a later stage reads them itself.
    """
    return [
        node
        for node in graph.nodes
        if node.op != "get_attr"
        and numbers[node] <= k
        and (node in shown or any(numbers[user] > k for user in node.users))
    ]


def _stages(
    traced: Traced, numbers: dict[fx.Node, int], crossings: list[list[fx.Node]], names: Sequence[str]
) -> tuple[Stage, ...]:
    incoming = [traced.placeholders, *crossings]
    bodies = [_body(traced.graph, numbers, k, taken) for k, taken in enumerate(incoming)]
    for name, (graph, new), crossed in zip(names, bodies, crossings, strict=False):
        graph.output((new[traced.marks[name].node], tuple(new[n] for n in crossed)))
    last, new = bodies[-1]
    result = next(node for node in traced.graph.nodes if node.op == "output").args[0]
    last.output((fx.map_arg(result, lambda n: new[n]), ()))
    return tuple(
        Stage(fx.GraphModule(traced.root, graph, class_name=f"Stage{k}"), name)
        for k, ((graph, _), name) in enumerate(zip(bodies, [*names, "output"], strict=True))
    )


def _body(
    whole: fx.Graph, numbers: dict[fx.Node, int], k: int, incoming: Sequence[fx.Node]
) -> tuple[fx.Graph, dict[fx.Node, fx.Node]]:
    """The graph of stage k without its output, and what became of the whole graph's nodes in it."""
    graph = fx.Graph()
    new = {node: graph.placeholder(node.name) for node in incoming}
    for node in whole.nodes:
        # A stage takes the parameters and buffers that it reads, wherever the whole graph fetches them.
        read = node.op == "get_attr" and any(numbers[user] == k for user in node.users)
        if read or (numbers[node] == k and node.op not in ("get_attr", "output")):
            new[node] = graph.node_copy(node, lambda n: new[n])
    return graph, new


def _carries(
    stages: Sequence[Stage],
    crossings: list[list[fx.Node]],
    sources: Sequence[int],
    signature: Signature,
    device: torch.device,
) -> tuple[Carry, ...]:
    small, large = (_crossed(stages, sources, signature.batch(rows, device)) for rows in SIZES)
    carries = []
    for stage, nodes, a, b in zip(stages, crossings, small, large, strict=False):
        try:
            carries.append(Carry.of([n.name for n in nodes], a, b, SIZES))
        except CutError as error:
            raise CutError(f"at '{stage.name}', {error}") from error
    return tuple(carries)


def _crossed(stages: Sequence[Stage], sources: Sequence[int], leaves: list[Any]) -> list[tuple[Any, ...]]:
    """What crosses each cut, for some inputs."""
    values: Sequence[Any] = [leaves[i] for i in sources]
    found = []
    for stage in stages[:-1]:
        _, values = stage(*values)
        # A later stage may work in place: classify what crossed as it was then.
        found.append(tuple(v.clone() if isinstance(v, Tensor) else v for v in values))
    return found
