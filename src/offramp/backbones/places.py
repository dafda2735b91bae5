"""Where a model can be cut: every place with the MACs and parameters up to it and what would cross a cut there."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from offramp.backbones.carry import Carry, check_feature
from offramp.backbones.inputs import Signature, first_tensor
from offramp.backbones.spine import Mark, Spine, evaluating, trace
from offramp.backbones.stages import SIZES, crossing, stage_numbers
from offramp.cost import counting_macs
from offramp.errors import AttachError, CutError, closest


@dataclass(frozen=True)
class Place:
    """A submodule's output, as a place to cut.

    Attributes:
        name: as in `named_modules()`.
        kind: class of the module.
        macs: MACs of one row up to here.
        share: the same as a share of the whole backbone's, 0 to 1.
        parameters: number of parameters used up to here.
        shape: of the output for one row, without the batch dimension.
        tensors: how many batched tensors would cross a cut here; 1 means a clean cut.
        carry_bytes: their size for one row.
        refused: why it cannot be cut, or None.
    """

    name: str
    kind: str
    macs: float
    share: float
    parameters: int
    shape: tuple[int, ...]
    tensors: int
    carry_bytes: int
    refused: str | None


def inspect(backbone: nn.Module, example: Any) -> list[Place]:
    """Lists every place where `backbone` could be cut, in the order of running.

    Args:
        backbone: any module; it is run a few times in evaluation mode and left as it was.
        example: inputs, as for `attach`.

    Raises:
        CutError: the model's own forward cannot be traced.
    """
    signature = Signature.of(example)
    device = device_of(backbone)
    spine = trace(backbone, signature)
    with evaluating(backbone), torch.no_grad():
        runs = [_values(spine, signature, rows, device) for rows in SIZES]
        macs = _macs(spine, signature, device)
    nodes = list(spine.graph.nodes)
    return [_place(spine, name, mark, nodes, runs, macs) for name, mark in spine.marks.items() if name]


def names_at(backbone: nn.Module, at: Sequence[str | float], example: Any) -> list[str]:
    """Turns what a user asks for in `at` into names of modules, canonical where a module has several.

    Raises:
        AttachError: unknown or repeated names, a share that is not between 0 and 1.
    """
    places: list[Place] = []
    names = []
    for item in at:
        if isinstance(item, str):
            names.append(_canonical(backbone, item))
            continue
        if isinstance(item, bool) or not isinstance(item, float) or not 0 < item < 1:
            raise AttachError(
                f"attach(at=...): {item!r} is neither a module's name nor a share of the MACs between 0 and 1."
            )
        places = places or inspect(backbone, example)
        names.append(nearest(places, item))
    for name in names:
        if names.count(name) > 1:
            raise AttachError(f"attach(at={list(at)}): two cuts are at '{name}'. Give each exit a place of its own.")
    return names


def nearest(places: Sequence[Place], share: float) -> str:
    """Name of the place nearest to a share of the MACs; clean cuts first, then outer modules, then later ones."""
    able = [p for p in places if p.refused is None and 0 < p.share < 1]
    able = [p for p in able if p.tensors == 1] or able
    if not able:
        raise AttachError(
            f"attach(at={share}): no place of this model can be cut. See the reasons with offramp.inspect."
        )
    found: Place = min(able, key=lambda p: (round(abs(p.share - share), 9), p.name.count("."), -places.index(p)))
    return found.name


def device_of(module: nn.Module) -> torch.device:
    """Device of a module's first parameter or buffer; the CPU where it has none."""
    tensor = next(itertools.chain(module.parameters(), module.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device


def _canonical(backbone: nn.Module, name: str) -> str:
    modules = dict(backbone.named_modules(remove_duplicate=False))
    if not name or name not in modules:
        known = [n for n in modules if n]
        raise AttachError(
            f"{type(backbone).__name__} has no submodule '{name}' (attach(at=...)). {closest(name, known)} "
            "See every place with: offramp inspect MODEL, or offramp.inspect(model, example)."
        )
    canonical: str = next(n for n, m in backbone.named_modules() if m is modules[name])
    return canonical


def _values(spine: Spine, signature: Signature, rows: int, device: torch.device) -> dict[fx.Node, Any]:
    interpreter = fx.Interpreter(fx.GraphModule(spine.backbone, spine.graph), garbage_collect_values=False)
    interpreter.run(*_tensors(signature, rows, device))
    return interpreter.env


def _tensors(signature: Signature, rows: int, device: torch.device) -> list[Any]:
    return [x for x in signature.batch(rows, device) if isinstance(x, torch.Tensor)]


class _MacsInterpreter(fx.Interpreter):
    """Counts the MACs run up to each node."""

    def __init__(self, module: fx.GraphModule, total: Callable[[], float]) -> None:
        super().__init__(module)
        self.total = total
        self.totals: list[float] = []

    def run_node(self, n: fx.Node) -> Any:
        """Runs one node and notes the total behind it."""
        result = super().run_node(n)
        self.totals.append(self.total())
        return result


def _macs(spine: Spine, signature: Signature, device: torch.device) -> list[float]:
    with counting_macs() as total:
        interpreter = _MacsInterpreter(fx.GraphModule(spine.backbone, spine.graph), total)
        interpreter.run(*_tensors(signature, 1, device))
    return interpreter.totals


def _place(
    spine: Spine,
    name: str,
    mark: Mark,
    nodes: list[fx.Node],
    runs: list[dict[fx.Node, Any]],
    macs: list[float],
) -> Place:
    live = crossing(spine.graph, stage_numbers(spine.graph, [mark.position]), 0)
    refused, tensors, size = None, 0, 0
    output = first_tensor(runs[0][mark.node])
    try:
        check_feature(name, output, first_tensor(runs[1][mark.node]), SIZES)
        small, large = ([run[n] for n in live] for run in runs)
        carry = Carry.of([n.name for n in live], small, large, SIZES)
        tensors, size = carry.tensors, carry.bytes_per_row
    except CutError as error:
        refused = str(error)
    return Place(
        name=name,
        kind=type(spine.backbone.get_submodule(name)).__name__,
        macs=macs[mark.position - 1],
        share=macs[mark.position - 1] / max(macs[-1], 1.0),
        parameters=_parameters(spine, nodes[: mark.position]),
        shape=tuple(output.shape[1:]) if output is not None else (),
        tensors=tensors,
        carry_bytes=size,
        refused=refused,
    )


def _parameters(spine: Spine, nodes: list[fx.Node]) -> int:
    found: dict[int, int] = {}
    for node in nodes:
        if node.op == "call_module":
            found |= {id(p): p.numel() for p in spine.backbone.get_submodule(str(node.target)).parameters()}
        elif node.op == "get_attr":
            path, _, name = str(node.target).rpartition(".")
            value = getattr(spine.backbone.get_submodule(path), name)
            found |= {id(value): value.numel()} if isinstance(value, nn.Parameter) else {}
    return sum(found.values())
