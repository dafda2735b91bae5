"""Figures of the analyses, from plain data: what a `Recorder` took, and losses along lines and over planes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from offramp.analysis.information import SATURATED
from offramp.analysis.panels import SMALL, panels
from offramp.analysis.rank import TOLERANCES
from offramp.analysis.recorder import Snapshot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Told apart by everyone (Okabe and Ito 2008)."""
HEIGHT = 2.2


def dominance(snapshots: Sequence[Snapshot]) -> Figure:
    """Signed share of every exit's gradient in each block's step, over epochs: one panel per block."""
    blocks = snapshots[0].dominance["blocks"]
    figure, axes = panels(len(blocks), HEIGHT)
    epochs = [one.epoch for one in snapshots]
    for block, panel in enumerate(axes):
        shares = [one.dominance["signed_shares"][block] for one in snapshots]
        for exit in range(len(shares[0])):
            if any(row[exit] for row in shares):
                colour = COLOURS[exit % len(COLOURS)]
                panel.plot(epochs, [row[exit] for row in shares], color=colour, label=f"exit {exit}")
        panel.axhline(0, color="black", linewidth=0.6)
        panel.set(title=f"up to {blocks[block]}", xlabel="epoch", ylabel="signed share")
    _legend(figure, axes[0])
    return figure


def ranks(models: Mapping[str, Snapshot]) -> Figure:
    """Numerical rank against the tolerance: one panel per cut, one line per model."""
    figure, axes = panels(len(_cuts(models)), HEIGHT)
    for cut, panel in zip(_cuts(models), axes, strict=True):
        for (name, one), colour in zip(models.items(), COLOURS, strict=False):
            label = f"{name} (effective {one.effective_ranks[cut]:.0f})"
            panel.plot(TOLERANCES, one.ranks[cut], color=colour, label=label)
        panel.set(title=cut, xscale="log", xlabel="tolerance, of the largest eigenvalue", ylabel="numerical rank")
        panel.legend(frameon=False, fontsize=SMALL - 1)
    return figure


def information(models: Mapping[str, Snapshot]) -> Figure:
    """Information as a share of log M against the noise, with its lower bound: one panel per cut."""
    figure, axes = panels(len(_cuts(models)), HEIGHT)
    for cut, panel in zip(_cuts(models), axes, strict=True):
        for (name, one), colour in zip(models.items(), COLOURS, strict=False):
            sigmas = [point["sigma"] for point in one.information[cut]]
            upper = [point["share"] for point in one.information[cut]]
            lower = [_low_share(point) for point in one.information[cut]]
            panel.plot(sigmas, upper, color=colour, label=name)
            panel.fill_between(sigmas, lower, upper, color=colour, alpha=0.15, linewidth=0)
        panel.axhline(SATURATED, color="black", linewidth=0.6, linestyle=":")
        panel.set(title=cut, xscale="log", xlabel="noise, of the layer's deviation", ylabel="I(X; Z) / log M")
    _legend(figure, axes[0])
    return figure


def similarity(models: Mapping[str, Snapshot]) -> Figure:
    """CKA between the cuts: one panel per model."""
    figure, axes = panels(len(models), HEIGHT, row=3)
    for (name, one), panel in zip(models.items(), axes, strict=True):
        panel.imshow(one.similarity, vmin=0, vmax=1, cmap="viridis")
        _numbers(panel, one.similarity)
        cuts = list(one.effective_ranks)
        panel.set_xticks(range(len(cuts)), labels=cuts, rotation=45)
        panel.set_yticks(range(len(cuts)), labels=cuts)
        panel.grid(visible=False)
        panel.set(title=name)
    return figure


def lines(
    losses: Mapping[str, Sequence[float]],
    steps: Sequence[float] | None = None,
    xlabel: str = "from the first solution (0) to the second (1)",
) -> Figure:
    """Losses along straight lines.

    Args:
        losses: along each line, by its name.
        steps: where on the lines; evenly from 0 to 1 when None.
        xlabel: what a step is.
    """
    figure, (panel,) = panels(1, HEIGHT)
    for (name, path), colour in zip(losses.items(), COLOURS, strict=False):
        places = [k / (len(path) - 1) for k in range(len(path))] if steps is None else steps
        panel.plot(places, path, color=colour, marker=".", label=name)
    panel.set(xlabel=xlabel, ylabel="mean loss of the exits, nats")
    panel.legend(frameon=False, fontsize=SMALL)
    return figure


def plane(
    across: Sequence[float], up: Sequence[float], losses: Any, points: Sequence[Sequence[float]], names: Sequence[str]
) -> Figure:
    """Losses over the plane through three solutions, as `Surroundings.over` gives them."""
    figure, (panel,) = panels(1, 2 * HEIGHT, row=1)
    drawn = panel.contourf(across, up, losses, levels=20, cmap="viridis")
    figure.colorbar(drawn, ax=panel, label="mean loss of the exits, nats")
    for (x, y), name in zip(points, names, strict=True):
        panel.plot([x], [y], "o", color="white", markeredgecolor="black")
        panel.annotate(name, (x, y), xytext=(4, 4), textcoords="offset points", color="white", fontsize=SMALL)
    panel.grid(visible=False)
    panel.set(xlabel="distance in weights", ylabel="distance in weights")
    return figure


def _numbers(panel: Axes, matrix: Sequence[Sequence[float]]) -> None:
    """Each value in its cell, light on dark."""
    for i, row in enumerate(matrix):
        for j, value in enumerate(row):
            colour = "white" if value < 0.7 else "black"
            panel.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=SMALL - 1, color=colour)


def _cuts(models: Mapping[str, Snapshot]) -> list[str]:
    return list(next(iter(models.values())).effective_ranks)


def _low_share(point: Mapping[str, float]) -> float:
    return point["share"] * point["low"] / point["nats"] if point["nats"] else 0.0


def _legend(figure: Figure, panel: Axes) -> None:
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False, fontsize=SMALL)
