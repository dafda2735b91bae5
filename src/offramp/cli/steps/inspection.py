"""Lists the places where a model can be cut."""

from __future__ import annotations

import importlib
import inspect as signatures
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.markup import escape
from rich.table import Table
from torch import nn

import offramp as ofr
from offramp import zoo
from offramp.backbones.places import Place
from offramp.cli.failures import UsageError
from offramp.cli.session import Session
from offramp.errors import closest
from offramp.reporters import wording

COLOUR, GREY = (3, 32, 32), (1, 28, 28)


def inspect(name: str, shape: tuple[int, ...] | None, full: bool, session: Session) -> dict[str, Any]:
    """Prints the places of a model.

    Args:
        name: of a network in the zoo, or `package.module:factory`.
        shape: of one input; None for that of the zoo's networks.
        full: list all places, not only the clean ones at container level.
        session: surroundings of the command.

    Returns:
        The places that were listed, as plain data.

    Raises:
        UsageError: there is no such model, or it needs a shape.
        CutError: the model cannot be traced.
    """
    backbone, shape = resolve(name, shape)
    places = ofr.inspect(backbone, torch.zeros(1, *shape))
    shown = places if full else notable(places, backbone)
    session.console.print(_table(name, shape, shown), highlight=False)
    for place in shown:
        if place.refused:
            session.say(f"[red]{escape(place.name)}[/]: {escape(place.refused)}")
    if len(shown) < len(places):
        session.say(f"{len(shown)} of {len(places)} places; the others, and why some cannot be cut: --full")
    cuts = zoo.default_cuts(name) if name in zoo.ARCHITECTURES else []
    if cuts:
        session.say(f"By default exits are attached behind {', '.join(cuts)}.")
    return {"model": name, "input": list(shape), "default_cuts": cuts, "places": [asdict(place) for place in shown]}


def resolve(name: str, shape: tuple[int, ...] | None) -> tuple[nn.Module, tuple[int, ...]]:
    """The model, and the shape of its input."""
    if ":" in name:
        if shape is None:
            raise UsageError(f"{name}: say what its inputs look like, e.g. --input 3,224,224.")
        return _imported(name), shape
    if name not in zoo.ARCHITECTURES:
        raise UsageError(
            f"There is no architecture '{name}' in the zoo. {closest(name, zoo.ARCHITECTURES)} For a model of your own "
            "write package.module:factory."
        )
    builder = zoo.ARCHITECTURES[name]
    grey = signatures.signature(builder).parameters["in_channels"].default == 1
    shape = shape or (GREY if grey else COLOUR)
    return zoo.build(name, in_channels=shape[0]), shape


def notable(places: list[Place], backbone: nn.Module) -> list[Place]:
    """Clean places behind modules that contain others; behind any module where there are none of these."""
    clean = [place for place in places if place.refused is None and place.tensors == 1]
    containers = [place for place in clean if any(backbone.get_submodule(place.name).children())]
    return containers or clean or places


def _imported(name: str) -> nn.Module:
    module_name, _, attribute = name.partition(":")
    # As with `python -m`, so that a model beside the prompt is found.
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise UsageError(f"{name}: the module {module_name} cannot be imported ({error}).") from error
    finally:
        sys.path.pop(0)
    try:
        factory: nn.Module | Callable[[], Any] = getattr(found, attribute)
    except AttributeError as error:
        raise UsageError(f"{name}: {module_name} has no {attribute!r}. {closest(attribute, dir(found))}") from error
    model = factory if isinstance(factory, nn.Module) else factory()
    if not isinstance(model, nn.Module):
        raise UsageError(f"{name} gives a {type(model).__name__}; it must give a torch.nn.Module.")
    return model


def _table(name: str, shape: tuple[int, ...], places: list[Place]) -> Table:
    title = f"Places to cut {escape(name)}, input {_shape(shape)}"
    table = Table(box=None, padding=(0, 2, 0, 0), title=title, title_justify="left", title_style="bold")
    table.caption = "MACs and parameters up to there; the tensors that cross a cut there, and their size, per row"
    table.caption_justify = "left"
    table.add_column("place", no_wrap=True)
    table.add_column("kind", no_wrap=True, max_width=12)
    for column in ("MACs", "params", "output", "crossing"):
        table.add_column(column, justify="right", no_wrap=True)
    for place in places:
        table.add_row(
            escape(place.name),
            escape(place.kind),
            wording.percent(place.share, 1),
            wording.compact(place.parameters),
            _shape(place.shape),
            "[red]no cut[/]" if place.refused else f"{place.tensors}, {place.carry_bytes / 1024:.1f} KiB",
        )
    return table


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
