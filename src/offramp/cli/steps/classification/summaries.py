"""Describes the network with its exits and stops: `--summary {sparsity,compute,model,modules,png}`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.markup import escape
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import offramp as ofr
from offramp import zoo
from offramp.cli.classify_options import ClassifyOptions
from offramp.cli.session import Session
from offramp.cli.steps.classification import images, networks
from offramp.errors import MissingExtraError


def show(options: ClassifyOptions, data: Path | None, session: Session) -> None:
    """Prints the summaries that are asked for; without a data folder, for the images that the network is made for.

    Raises:
        DataError: the images cannot be had.
        FileFormatError: weights that are asked for do not fit.
        MissingExtraError: a drawing needs matplotlib.
    """
    arch = options.network.arch
    kind = zoo.images_for(arch)
    classes, example = kind.classes, torch.randn(1, *kind.shape, generator=torch.Generator().manual_seed(0))
    if data is not None:
        found = images.read(data, options)
        classes, example = len(found.classes), found.example
    model = networks.network(arch, options.network.exits, classes, example, options.common.seed or 0).eval()
    networks.start(model, options)
    results = {}
    for name in dict.fromkeys(options.output.summary or ()):
        session.console.print(f"{arch}: {name}", style="bold", highlight=False)
        results[name] = SUMMARIES[name](model, options, session)
    session.deliver({"arch": arch, "cuts": list(model.cuts), "classes": classes, "summary": results})


def _sparsity(model: ofr.ExitModel, options: ClassifyOptions, session: Session) -> list[dict[str, Any]]:
    """Weights that are zero, layer by layer."""
    rows: list[dict[str, Any]] = [
        {
            "parameter": name,
            "shape": list(value.shape),
            "numbers": value.numel(),
            "nonzero": int(value.count_nonzero()),
            "sparsity_percent": 100 * (1 - int(value.count_nonzero()) / value.numel()),
        }
        for name, value in model.named_parameters()
        if value.ndim > 1
    ]
    numbers, nonzero = sum(row["numbers"] for row in rows), sum(row["nonzero"] for row in rows)
    total = {"parameter": "total", "shape": [], "numbers": numbers, "nonzero": nonzero}
    rows.append({**total, "sparsity_percent": 100 * (1 - nonzero / numbers)})
    _print(rows, session)
    return rows


def _compute(model: ofr.ExitModel, options: ClassifyOptions, session: Session) -> dict[str, Any]:
    """MACs and parameters of every layer that has any, and the cumulative cost of every exit, heads included."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(model._example(rows=1))
    prefix = f"{type(model).__name__}."
    flops = {name.removeprefix(prefix): sum(ops.values()) // 2 for name, ops in counter.get_flop_counts().items()}
    layers = [
        {"layer": name, "type": type(module).__name__, "macs": flops.get(name, 0), "parameters": _size(module)}
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    places = [*model.cuts, "(the network's own output)"]
    exits = [
        {"exit": k, "behind": place, "macs": int(macs), "percent_of_plain": 100 * macs / model.cost.plain}
        for k, (place, macs) in enumerate(zip(places, model.cost.macs, strict=True))
    ]
    _print(layers, session)
    _print(exits, session)
    return {"layers": layers, "exits": exits, "plain_macs": int(model.cost.plain), "parameters": _size(model)}


def _model(model: ofr.ExitModel, options: ClassifyOptions, session: Session) -> str:
    """The modules as torch prints them."""
    session.console.print(str(model), markup=False, highlight=False)
    return str(model)


def _modules(model: ofr.ExitModel, options: ClassifyOptions, session: Session) -> list[dict[str, Any]]:
    """Names and types of all modules: what `--exits` understands is below `backbone.`, without that word."""
    rows = [{"module": name, "type": type(module).__name__} for name, module in model.named_modules() if name]
    _print(rows, session)
    return rows


def _png(model: ofr.ExitModel, options: ClassifyOptions, session: Session) -> str:
    """Draws where along the network's MACs its exits are."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("--summary png draws with matplotlib: pip install 'offramp[report]'") from error
    figure = Figure(figsize=(7, 1.8), layout="constrained")
    axes = figure.add_subplot()
    total = model.cost.macs[-1]
    axes.barh([0], [100], height=0.3, color="#858b94")
    for k, (place, macs) in enumerate(zip([*model.cuts, "output"], model.cost.macs, strict=True)):
        axes.plot([100 * macs / total] * 2, [-0.3, 0.3], color="#d9622b")
        axes.annotate(
            f"exit {k}\n{place}", (100 * macs / total, 0.34), ha="right" if k == len(model.cuts) else "center"
        )
    axes.set(xlabel="MACs until the exit, % of all, heads included", yticks=[], ylim=(-0.4, 0.9), xlim=(0, 104))
    path = Path(f"{options.network.arch}.png")
    figure.savefig(path, dpi=150)
    session.say(f"Drawn: {path.absolute()}")
    return str(path.absolute())


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _print(rows: list[dict[str, Any]], session: Session) -> None:
    """A table as wide as it has to be: a name that is cut short could not be given to --exits."""
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        session.say(escape("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()))


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}" if isinstance(value, float) else str(value)


SUMMARIES: dict[str, Callable[[ofr.ExitModel, ClassifyOptions, Session], Any]] = {
    "sparsity": _sparsity,
    "compute": _compute,
    "model": _model,
    "modules": _modules,
    "png": _png,
}
