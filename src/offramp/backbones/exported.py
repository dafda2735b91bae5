"""Traces a whole model with torch.export: for models whose Python cannot be followed by tracing its spine.

The graph has torch's own operations instead of modules, as they run in evaluation mode; parameters and buffers stay
the model's own. Where a module returned is found by a mark that a hook leaves on its output while the model is
exported. Marks are taken out again.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, library, nn
from torch.export import Dim, ExportedProgram

from offramp.backbones.carry import SIZES
from offramp.backbones.inputs import Signature
from offramp.backbones.modes import trying
from offramp.backbones.outputs import final_logits, map_tensors
from offramp.backbones.traced import INPUT, Held, Mark, Traced, children, first_line
from offramp.cost import transformers_in_parts
from offramp.errors import CutError

_EXPORTING = threading.Lock()
"""torch.export replaces a model's parameters while it runs."""

CHECKS = {torch.ops.aten._assert_tensor_metadata.default, torch.ops.aten._assert_scalar.default}
"""Operations that only compare with what was seen when exporting."""


@library.custom_op("offramp::returned", mutates_args=())
def _returned(value: Tensor, module: int) -> Tensor:
    """Marks the output of a module in an exported graph."""
    return value.clone()


@_returned.register_fake
def _(value: Tensor, module: int) -> Tensor:
    return torch.empty_like(value)


class _Flat(nn.Module):
    """The model from its flat input tensors to its logits, so that its own inputs and outputs may be of any class."""

    def __init__(self, backbone: nn.Module, signature: Signature) -> None:
        super().__init__()
        self.backbone = backbone
        self.signature = signature

    def forward(self, *tensors: Tensor) -> Tensor:
        """The logits."""
        arriving = iter(tensors)
        leaves = [next(arriving) if isinstance(x, Tensor) else x for x in self.signature.leaves]
        args, kwargs = self.signature.unflatten(leaves)
        try:
            return final_logits(self.backbone(*args, **kwargs))
        except Exception as error:
            # torch.export prints the whole graph on stderr when it sees some of its own errors.
            raise CutError(first_line(error)) from error


def trace(backbone: nn.Module, names: Sequence[str], signature: Signature, device: torch.device) -> Traced:
    """Exports `backbone` with a batch of any size; its training flags are restored.

    Args:
        backbone: the model.
        names: the modules whose return is to be marked.
        signature: of its inputs.
        device: where it is.

    Raises:
        CutError: torch.export refuses: control flow depends on data, or the batch size is fixed somewhere.
    """
    try:
        # A transformer layer as one operation has no MACs that could be counted, and cannot be exported further.
        with _EXPORTING, _quiet(), trying(backbone), transformers_in_parts(), _marking(backbone, names):
            program = _export(backbone, signature, device)
    except Exception as error:
        said = str(error) if isinstance(error, CutError) else first_line(error)
        raise CutError(f"torch.export cannot capture it ({said})") from error
    root = _tensors(program)
    graph = _graph(program, signature)
    marks = _take_out_marks(graph, names)
    return Traced(
        engine="export",
        root=root,
        graph=graph,
        marks=dict(sorted(marks.items(), key=lambda item: item[1].position)),
        held=_held(backbone, graph),
        entered=tuple((m, children(m)) for m in backbone.modules() if children(m)),
    )


def _export(backbone: nn.Module, signature: Signature, device: torch.device) -> ExportedProgram:
    leaves = signature.batch(SIZES[0], device)
    batch = Dim("batch")
    shapes = [
        {0: batch} if has else None for x, has in zip(leaves, signature.has_rows, strict=True) if isinstance(x, Tensor)
    ]
    tensors = tuple(x for x in leaves if isinstance(x, Tensor))
    program = torch.export.export(
        _Flat(backbone, signature), tensors, dynamic_shapes={"tensors": tuple(shapes)}, strict=False
    )
    # Operations in place would reach across a cut, where rows that leave are copied.
    return program.run_decompositions({}) if any(map(_in_place, program.graph.nodes)) else program


def _in_place(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps torch from logging, in this thread, what becomes an error's message here."""
    thread = threading.get_ident()

    def elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != thread

    log = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    log.addFilter(elsewhere)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch 2.13 warns of calls in itself
            yield
    finally:
        log.removeFilter(elsewhere)


@contextmanager
def _marking(backbone: nn.Module, names: Sequence[str]) -> Iterator[None]:
    thread = threading.get_ident()

    def hook(k: int) -> Callable[[nn.Module, Any, Any], Any]:
        def mark(module: nn.Module, inputs: Any, output: Any) -> Any:
            return _marked(output, k) if threading.get_ident() == thread else None

        return mark

    handles = [backbone.get_submodule(name).register_forward_hook(hook(k)) for k, name in enumerate(names)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _marked(output: Any, k: int) -> Any:
    """The output with a mark on its first tensor."""
    left = [k]
    return map_tensors(lambda t: _returned(t, left.pop()) if left else t, output)


def _graph(program: ExportedProgram, signature: Signature) -> fx.Graph:
    """The exported graph with the model's tensors found by name, and only its inputs as placeholders."""
    names = _names(program)
    inputs = iter([i for i, x in enumerate(signature.leaves) if isinstance(x, Tensor)])
    graph, new = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in program.graph.nodes:
        if node.op == "placeholder":
            name = names.get(node.name)
            new[node] = graph.get_attr(name) if name else graph.placeholder(f"{INPUT}{next(inputs)}")
        elif node.op == "output":
            # Behind what a model changes of itself, which the self-check will notice, comes its one output.
            graph.output(new[node.args[0][-1]])
        elif node.target not in CHECKS:
            new[node] = graph.node_copy(node, lambda n: new[n])
    graph.eliminate_dead_code()
    return graph


def _names(program: ExportedProgram) -> dict[str, str]:
    """For the placeholders that are no inputs: the tensor each stands for."""
    signature = program.graph_signature
    return {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }


def _tensors(program: ExportedProgram) -> dict[str, Any]:
    """What the graph refers to by name: the model's own parameters and buffers, constants, and nested graphs."""
    found: dict[str, Any] = {**program.constants, **program.state_dict}
    return found | dict(program.graph_module.named_children())


def _take_out_marks(graph: fx.Graph, names: Sequence[str]) -> dict[str, Mark]:
    """Removes the marks from a graph and says where they were; modules that ran several times are left out."""
    found: dict[str, list[fx.Node]] = {}
    for node in graph.nodes:
        if node.target is torch.ops.offramp.returned.default:
            found.setdefault(names[node.args[1]], []).append(node)
    before = _unmarked_before(graph)
    marks = {name: Mark(before[nodes[0]], _source(nodes[0])) for name, nodes in found.items() if len(nodes) == 1}
    for node in reversed([node for nodes in found.values() for node in nodes]):
        node.replace_all_uses_with(_source(node))
    for node in [node for nodes in found.values() for node in nodes][::-1]:
        graph.erase_node(node)
    return marks


def _unmarked_before(graph: fx.Graph) -> dict[fx.Node, int]:
    """How many nodes that are no marks there are before each node."""
    before, count = {}, 0
    for node in graph.nodes:
        before[node] = count
        count += node.target is not torch.ops.offramp.returned.default
    return before


def _source(node: fx.Node) -> Any:
    """The value that was marked, perhaps several times as several modules returned it."""
    while node.target is torch.ops.offramp.returned.default:
        node = node.args[0]  # type: ignore[assignment]
    return node


def _held(backbone: nn.Module, graph: fx.Graph) -> tuple[Held, ...]:
    """The model's own among the tensors that the graph reads; constants that export made are nobody's."""
    known = {n for n, _ in backbone.named_parameters(remove_duplicate=False)}
    known |= {n for n, _ in backbone.named_buffers(remove_duplicate=False)}
    names = {str(node.target).removeprefix("backbone.") for node in graph.nodes if node.op == "get_attr"}
    paths = [name.rpartition(".") for name in sorted(names & known)]
    return tuple(Held.by(backbone.get_submodule(path), name) for path, _, name in paths)
