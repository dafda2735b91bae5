"""One ONNX graph that takes the exits itself: what lies behind an exit is a branch of an `If`, its weights inside it.

    segment 0 -> logits, score, carry
    index = NonZero(Not(score > threshold))          rows that go on; NaN is among them
    If(size(index) > 0)
        then  Gather(carry, index) -> segment 1 -> ... -> ScatterND into this exit's logits and exit numbers
        else  this exit's logits and exit number

Weights that stay in the outer graph, as a plain `If` exporter leaves them, stop a runtime from preparing them for the
kernels of the branch.

Names: nodes and values of segment k begin with `s{k}/`, those that join it to the next with `s{k}@`, so that they never
collide and a profile shows which segments ran.
Import this module only where `offramp.lowering.require_onnx` has passed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, inliner, numpy_helper

from offramp.segments import Plan

LOGITS, EXITS = "logits", "exits"
ROWS = "rows"
"""Name of the dynamic dimension."""


def branching_model(
    segments: Sequence[onnx.ModelProto], plan: Plan, inputs: Sequence[str], metadata: Mapping[str, str]
) -> onnx.ModelProto:
    """Joins the models of the segments into one.

    Args:
        segments: one per stop, from `offramp.lowering.to_onnx`.
        plan: stops and thresholds, which become constants of the graph.
        inputs: names for the inputs, in the order of the first segment's.
        metadata: goes into `metadata_props`.

    Returns:
        A model with the outputs `logits` `[n, classes]` and `exits` `[n]` int64, in the order of the inputs.
    """
    joint = _Joint([_named_apart(model, k) for k, model in enumerate(segments)], plan)
    first = segments[0].graph.input
    whole = _Block()
    whole.pass_on([(name, f"s0/{value.name}") for name, value in zip(inputs, first, strict=True)])
    whole.append(joint.from_stop(0))
    whole.pass_on([(joint.logits(0), LOGITS), (joint.exits(0), EXITS)])
    classes = segments[-1].graph.output[0].type.tensor_type.shape.dim[1].dim_value
    graph = helper.make_graph(
        whole.nodes,
        "offramp",
        [_input(value, name) for name, value in zip(inputs, first, strict=True)],
        [
            helper.make_tensor_value_info(LOGITS, joint.type, [ROWS, classes]),
            helper.make_tensor_value_info(EXITS, TensorProto.INT64, [ROWS]),
        ],
        whole.weights,
    )
    return _model(graph, segments, metadata)


def set_thresholds(model: onnx.ModelProto, plan: Plan) -> None:
    """Replaces the thresholds inside a model, in place; exits that were closed stay closed.

    Args:
        model: from `branching_model`.
        plan: with as many stops.
    """
    values = {_threshold(k): t for k, t in enumerate(plan.thresholds)}
    for graph in _graphs(model.graph):
        for weight in graph.initializer:
            if weight.name in values:
                dtype = numpy_helper.to_array(weight).dtype
                weight.CopyFrom(numpy_helper.from_array(np.array(values[weight.name], dtype), weight.name))


@dataclass
class _Block:
    """Nodes of one graph or branch, with the weights that only they use."""

    nodes: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)

    def add(self, operation: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Adds a node with one output, whose name it gives back."""
        self.nodes.append(helper.make_node(operation, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: Any, dtype: Any = np.int64) -> str:
        """Adds an array as a weight, whose name it gives back."""
        self.weights.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def pass_on(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Gives values a second name."""
        for source, target in pairs:
            self.add("Identity", [source], target)

    def append(self, other: _Block) -> None:
        """Adds what is in another block behind what is in this one."""
        self.nodes += other.nodes
        self.weights += other.weights


class _Joint:
    """Writes the blocks, the one behind each stop inside the one before.

    Args:
        graphs: of the segments, their names apart from each other's.
        plan: stops and thresholds.
    """

    def __init__(self, graphs: Sequence[Any], plan: Plan) -> None:
        self.graphs = graphs
        self.plan = plan
        self.type = _widest([graph.output[0].type.tensor_type.elem_type for graph in graphs])

    def logits(self, k: int) -> str:
        """Name of the logits that rows arriving at stop k end with."""
        return f"s{k}@decided_{LOGITS}"

    def exits(self, k: int) -> str:
        """Name of the exit numbers that rows arriving at stop k end with."""
        return f"s{k}@decided_{EXITS}"

    def from_stop(self, k: int) -> _Block:
        """Everything from segment k to the end; the names of its inputs are taken as defined."""
        block = _Block(list(self.graphs[k].node), list(self.graphs[k].initializer))
        own = block.add("Cast", [f"s{k}/{LOGITS}"], f"s{k}@own_logits", to=self.type)
        rows = block.add("Shape", [own], f"s{k}@rows", start=0, end=1)
        number = numpy_helper.from_array(np.array([self.plan.stops[k]], dtype=np.int64))
        block.add("ConstantOfShape", [rows], f"s{k}@own_exits", value=number)
        if k == len(self.graphs) - 1:
            block.pass_on([(own, self.logits(k)), (f"s{k}@own_exits", self.exits(k))])
        elif self.plan.thresholds[k] == math.inf:
            self._go_on_together(block, k)
        else:
            self._part(block, k)
        return block

    def _go_on_together(self, block: _Block, k: int) -> None:
        """Nobody may leave at a closed exit; its head runs for what later exits read in its logits."""
        block.pass_on(self._crossing(k))
        block.append(self.from_stop(k + 1))
        block.pass_on([(self.logits(k + 1), self.logits(k)), (self.exits(k + 1), self.exits(k))])

    def _part(self, block: _Block, k: int) -> None:
        """The gate, and the two branches behind it."""
        dtype = helper.tensor_dtype_to_np_dtype(self.graphs[k].output[1].type.tensor_type.elem_type)
        threshold = block.constant(_threshold(k), self.plan.thresholds[k], dtype)
        leaves = block.add("Greater", [f"s{k}/score", threshold], f"s{k}@leaves")
        # Not `score <= threshold`: a score that is NaN goes on.
        found = block.add("NonZero", [block.add("Not", [leaves], f"s{k}@goes_on")], f"s{k}@nonzero")
        index = block.add("Squeeze", [found, block.constant(f"s{k}@axis", [0])], f"s{k}@index")
        count = block.add("Size", [index], f"s{k}@count")
        someone = block.add("Greater", [count, block.constant(f"s{k}@none", 0)], f"s{k}@someone")
        types = [self.type, TensorProto.INT64]
        branches = helper.make_node(
            "If",
            [someone],
            [self.logits(k), self.exits(k)],
            name=f"s{k}@if",
            then_branch=_branch(self._rest(k), f"s{k}@rest", types),
            else_branch=_branch(self._all_leave(k), f"s{k}@all_leave", types),
        )
        block.nodes.append(branches)

    def _rest(self, k: int) -> _Block:
        """Runs what follows on the rows that go on, and puts what comes of them in their places."""
        block = _Block()
        for source, target in self._crossing(k):
            block.add("Gather", [source, f"s{k}@index"], target, axis=0)
        block.append(self.from_stop(k + 1))
        places = block.add("Unsqueeze", [f"s{k}@index", block.constant(f"s{k}@last_axis", [1])], f"s{k}@places")
        block.add("ScatterND", [f"s{k}@own_logits", places, self.logits(k + 1)], f"s{k}@rest_0")
        block.add("ScatterND", [f"s{k}@own_exits", places, self.exits(k + 1)], f"s{k}@rest_1")
        return block

    def _all_leave(self, k: int) -> _Block:
        block = _Block()
        block.pass_on([(f"s{k}@own_logits", f"s{k}@all_leave_0"), (f"s{k}@own_exits", f"s{k}@all_leave_1")])
        return block

    def _crossing(self, k: int) -> list[tuple[str, str]]:
        """What segment k + 1 takes, and its names for it."""
        sources = [value.name for value in self.graphs[k].output[2:]]
        return list(zip(sources, (value.name for value in self.graphs[k + 1].input), strict=True))


def _branch(block: _Block, name: str, types: Sequence[int]) -> Any:
    outputs = [helper.make_tensor_value_info(f"{name}_{i}", kind, None) for i, kind in enumerate(types)]
    return helper.make_graph(block.nodes, name, [], outputs, block.weights)


def _named_apart(model: onnx.ModelProto, k: int) -> Any:
    """The graph of a segment, every name in it beginning with `s{k}/`."""
    whole = inliner.inline_local_functions(model) if model.functions else model
    graph = compose.add_prefix(whole, f"s{k}/").graph
    # Every segment has its own symbol for the rows: left in, they would contradict each other.
    del graph.value_info[:]
    return graph


def _threshold(k: int) -> str:
    return f"s{k}@threshold"


def _input(value: Any, name: str) -> Any:
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(value)
    copy.name = name
    copy.type.tensor_type.shape.dim[0].dim_param = ROWS
    return copy


def _widest(types: Sequence[int]) -> int:
    """The type that the logits of all exits fit into, as in the eager runtime."""
    if len(set(types)) == 1:
        return types[0]
    return int(TensorProto.DOUBLE if TensorProto.DOUBLE in types else TensorProto.FLOAT)


def _model(graph: Any, segments: Sequence[onnx.ModelProto], metadata: Mapping[str, str]) -> onnx.ModelProto:
    imports = {entry.domain: entry for model in segments for entry in model.opset_import}
    model = helper.make_model(
        graph,
        producer_name="offramp",
        opset_imports=list(imports.values()),
        ir_version=max(model.ir_version for model in segments),
    )
    helper.set_model_props(model, dict(metadata))
    return model


def _graphs(graph: Any) -> list[Any]:
    """A graph, and all those inside its nodes."""
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return [graph, *(found for g in inner for found in _graphs(g))]
