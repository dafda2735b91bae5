"""Lists the places where a model can be cut, and the exits of a network that was published with some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.table import Table
from torch import Tensor

from offramp import backbones, zoo
from offramp.backbones import Place
from offramp.backbones.placement import notable
from offramp.cli.models import Shape, resolve, twin
from offramp.cli.session import Session
from offramp.exit_model import ExitModel
from offramp.reporters import wording


def inspect(name: str, shape: Shape | None, full: bool, session: Session) -> dict[str, Any]:
    """Prints the places of a model; of an early-exit twin its exits, then the places of its backbone.

    Args:
        name: of a model, see `offramp.cli.models`.
        shape: of one input; None for the model's own.
        full: list all places, not only the clean ones at container level.
        session: surroundings of the command.

    Returns:
        What was listed, as plain data.

    Raises:
        UsageError: there is no such model, or it needs a shape.
        CutError: the model mixes rows or keeps state, and no engine can follow it.
    """
    model = twin(name, shape)
    if model is None:
        found = _places(name, shape, full, session)
        if found["default_cuts"]:
            session.say(f"By default exits are attached behind {', '.join(found['default_cuts'])}.")
        return found
    exits = _exits(model)
    session.console.print(_exit_table(name, exits), highlight=False)
    return {**_places(zoo.plain_name(name), shape, full, session), "model": name, "exits": exits}


def _places(name: str, shape: Shape | None, full: bool, session: Session) -> dict[str, Any]:
    backbone, example = resolve(name, shape)
    survey = backbones.survey(backbone, example)
    places = survey.places
    shown = places if full else notable(places, backbone) or places
    inputs = _inputs(example)
    session.console.print(_table(name, inputs, shown), highlight=False)
    for place in shown:
        if place.refused:
            session.say(f"[red]{escape(place.name)}[/]: {escape(place.refused)}")
    for engine, reason in survey.refusals.items():
        session.say(f"Not everywhere by [bold]{engine}[/]: {escape(reason)}")
    if len(shown) < len(places):
        session.say(f"{len(shown)} of {len(places)} places; the others, and why some cannot be cut: --full")
    return {
        "model": name,
        "input": inputs,
        "default_cuts": zoo.default_cuts(name) if name in zoo.ARCHITECTURES else [],
        "refusals": survey.refusals,
        "places": [asdict(place) for place in shown],
    }


def _exits(model: ExitModel) -> list[dict[str, Any]]:
    """Of every exit: where it is, what predicts there, and what leaving there costs, heads included."""
    heads = [*(type(head).__name__ for head in model.heads), "(the network's own output)"]
    sizes = [*(sum(p.numel() for p in head.parameters()) for head in model.heads), 0]
    return [
        {"exit": k, "behind": place, "head": head, "macs": macs, "share": macs / model.cost.plain, "parameters": size}
        for k, (place, head, macs, size) in enumerate(
            zip([*model.cuts, None], heads, model.cost.macs, sizes, strict=True)
        )
    ]


def _exit_table(name: str, exits: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), title=f"Exits of {escape(name)}", title_justify="left")
    table.title_style = "bold"
    table.caption = (
        "MACs of a sample that leaves there, heads included, in % of the network without exits; params of the head"
    )
    table.caption_justify = "left"
    table.add_column("exit", justify="right")
    for column in ("behind", "head"):
        table.add_column(column, no_wrap=True)
    for column in ("MACs", "", "params"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in exits:
        share, size = wording.percent(row["share"], 1), wording.compact(row["parameters"])
        behind = escape(row["behind"] or "")
        table.add_row(str(row["exit"]), behind, row["head"], wording.compact(row["macs"]), share, size)
    return table


def _inputs(example: Any) -> list[int] | dict[str, list[int]]:
    """Shape of one row of a tensor, or of each of several by name."""
    if isinstance(example, Tensor):
        return list(example.shape[1:])
    return {name: list(tensor.shape[1:]) for name, tensor in example.items()}


def _table(name: str, inputs: list[int] | dict[str, list[int]], places: Sequence[Place]) -> Table:
    named = {"input": inputs} if isinstance(inputs, list) else inputs
    title = f"Places to cut {escape(name)}, " + ", ".join(f"{name} {_shape(x)}" for name, x in named.items())
    table = Table(box=None, padding=(0, 2, 0, 0), title=title, title_justify="left", title_style="bold")
    table.caption = "MACs and parameters up to there; the tensors that cross a cut there, and their size, per row"
    table.caption_justify = "left"
    table.add_column("place", no_wrap=True)
    table.add_column("kind", no_wrap=True, max_width=12)
    for column in ("MACs", "params", "output", "crossing"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("engine", no_wrap=True)
    for place in places:
        table.add_row(
            escape(place.name),
            escape(place.kind),
            wording.percent(place.share, 1),
            wording.compact(place.parameters),
            _shape(place.shape),
            "[red]no cut[/]" if place.refused else f"{place.tensors}, {place.carry_bytes / 1024:.1f} KiB",
            place.engine or "",
        )
    return table


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
