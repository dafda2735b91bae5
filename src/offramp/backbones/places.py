"""Where a model can be cut: every place with the MACs and parameters up to it and what would cross a cut there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import fx, nn

from offramp.backbones import exported, hooked, spine
from offramp.backbones.carry import SIZES, Carry, Rows, check_feature
from offramp.backbones.check import check
from offramp.backbones.inputs import Signature
from offramp.backbones.modes import device_of, trying
from offramp.backbones.outputs import first_tensor
from offramp.backbones.rehearsal import rehearse
from offramp.backbones.splitting import crossing, stage_numbers
from offramp.backbones.tour import Stop, tour
from offramp.backbones.traced import Mark, Traced
from offramp.errors import CutError


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
        tensors: how many batched tensors would cross a cut here.
        brought: how many of these do not depend on the weights: inputs, masks.
        carry_bytes: size of all of them for one row.
        refused: why it cannot be cut, or None.
        engine: what would cut it: "spine", "export" or "hooks"; None where it cannot be cut.
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
    brought: int = 0
    engine: str | None = "spine"

    @property
    def clean(self) -> bool:
        """Whether nothing that was computed crosses but the output itself."""
        return self.refused is None and self.tensors - self.brought <= 1


@dataclass(frozen=True)
class Survey:
    """Where a model can be cut.

    Attributes:
        places: in the order of running.
        refusals: why an engine does not cut all of them, by its name.
    """

    places: list[Place]
    refusals: dict[str, str]


@dataclass(frozen=True)
class Load:
    """What would cross a cut; see the fields of the same names in `Place`."""

    tensors: int
    brought: int
    carry_bytes: int


@dataclass(frozen=True)
class View:
    """How an engine sees a place.

    Attributes:
        engine: its name.
        load: tells what would cross; raises CutError where the place cannot be cut.
    """

    engine: str
    load: Callable[[], Load]


def inspect(backbone: nn.Module, example: Any) -> list[Place]:
    """Lists every place where `backbone` could be cut, in the order of running.

    Args:
        backbone: any module; it is run a few times in evaluation mode and left as it was.
        example: inputs, as for `attach`.

    Raises:
        CutError: no engine can follow the model, and it mixes rows, keeps state or draws random numbers.
    """
    return survey(backbone, example).places


def survey(backbone: nn.Module, example: Any) -> Survey:
    """The same, with what would cut the model and why.

    Args:
        backbone: as for `inspect`.
        example: as for `inspect`.

    Raises:
        CutError: as for `inspect`.
    """
    signature, device = Signature.of(example), device_of(backbone)
    with trying(backbone):
        stops = tour(backbone, signature, 1, device)
        inner, total = stops[:-1], max(stops[-1].macs, 1.0)
        views, refusals = _views(backbone, inner, signature, device)
        places = [_place(backbone, stop, total, views[stop.name]) for stop in inner if stop.name in views]
    return Survey(places, refusals)


def _views(
    backbone: nn.Module, stops: Sequence[Stop], signature: Signature, device: torch.device
) -> tuple[dict[str, View], dict[str, str]]:
    """The first engine's view of every place, and why it is not the very first's."""
    refusals: dict[str, str] = {}
    views: dict[str, View] = {}
    names = [stop.name for stop in stops]
    for engine, trace in _TRACERS.items():
        try:
            traced = trace(backbone, names, signature, device)
            views = _traced_views(traced, signature, device) | views
        except CutError as error:
            refusals[engine] = str(error)
            continue
        if not traced.opaque:
            return views, refusals
        refusals[engine] = " ".join(f"{reason}." for reason in traced.opaque.values())
    return _hooked_views(backbone, stops, signature, device) | views, refusals


_TRACERS: dict[str, Callable[[nn.Module, Sequence[str], Signature, torch.device], Traced]] = {
    "spine": lambda backbone, names, signature, device: spine.trace(backbone, signature),
    "export": exported.trace,
}


def _traced_views(traced: Traced, signature: Signature, device: torch.device) -> dict[str, View]:
    small, large = (traced.values(signature, rows, device) for rows in SIZES)
    learned = _learned(traced, small)

    def load(mark: Mark) -> Load:
        check_feature("", first_tensor(small[mark.node]), first_tensor(large[mark.node]), SIZES)
        live = crossing(traced.graph, stage_numbers(traced.graph, [mark.position]), 0)
        carry = Carry.of([n.name for n in live], [small[n] for n in live], [large[n] for n in live], SIZES)
        rows = [sum(isinstance(kind, Rows) for kind in kinds) for kinds in carry.kinds]
        brought = sum(count for node, count in zip(live, rows, strict=True) if node not in learned)
        return Load(carry.tensors, brought, carry.bytes_per_row)

    return {name: View(traced.engine, partial(load, mark)) for name, mark in traced.marks.items()}


def _learned(traced: Traced, values: dict[fx.Node, Any]) -> set[fx.Node]:
    """The values that depend on the weights. Sizes do not, whatever they are the size of."""
    found: set[fx.Node] = set()
    for node in traced.graph.nodes:
        if node.op == "output" or first_tensor(values[node]) is None:
            continue
        if traced.weighs(node) or any(source in found for source in node.all_input_nodes):
            found.add(node)
    return found


def _hooked_views(
    backbone: nn.Module, stops: Sequence[Stop], signature: Signature, device: torch.device
) -> dict[str, View]:
    """Hooks cannot tell what crosses, so that every place is tried; what is counted is its own output."""
    expected = rehearse(backbone, [], signature, device)
    division = hooked.divide(backbone, [stop.name for stop in stops], signature, device)

    def load(stop: Stop) -> Load:
        if not division.returned(stop.name):
            raise CutError("its output has no tensor with a row per sample")
        one = dataclasses.replace(division, names=(stop.name,))
        check(one, 1, device, {SIZES[0]: expected[SIZES[0]]})
        return Load(division.returned(stop.name), 0, stop.size)

    return {stop.name: View("hooks", partial(load, stop)) for stop in stops}


def _place(backbone: nn.Module, stop: Stop, total: float, view: View) -> Place:
    refused, load = None, Load(0, 0, 0)
    try:
        load = view.load()
    except CutError as error:
        refused = str(error)
    return Place(
        name=stop.name,
        kind=type(backbone.get_submodule(stop.name)).__name__,
        macs=stop.macs,
        share=stop.macs / total,
        parameters=stop.parameters,
        shape=(stop.shape or ())[1:],
        tensors=load.tensors,
        carry_bytes=load.carry_bytes,
        refused=refused,
        brought=load.brought,
        engine=None if refused else view.engine,
    )
