"""The figures of the HTML report, each as an inline SVG element readable on light and on dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from offramp.metrics import ReliabilityBin
from offramp.reporters.results import Results
from offramp.reporters.results.exits import ExitFigures
from offramp.reporters.results.learning import Learning
from offramp.reporters.results.reliability import Diagram, ExitReliability
from offramp.reporters.svg import INK, drawing, inline

# Middle tones, with a contrast of at least 3 : 1 on white as well as on the dark page.
POLICY, STATIC, CURVE, GREY = "#d9622b", "#2f86c9", "#4b9e5f", "#858b94"
EXIT_COLOURS = ("#2f86c9", "#4b9e5f", "#b8860b", "#d9622b", "#a05fc0", "#c2537a", "#3a9aa0", "#858b94")

FEWEST = 10
"""Samples in a bin of a reliability diagram below which it is not drawn: it would be a spike of noise."""


def colour_of(exit: int) -> str:
    """Colour of an exit, the same in all figures and tables."""
    return EXIT_COLOURS[exit % len(EXIT_COLOURS)]


def tradeoff(results: Results) -> str:
    """Accuracy against MACs: frontier, operating point, and every exit used alone."""
    headline = results.headline
    with drawing("tradeoff") as new_figure:
        figure = new_figure(figsize=(5.2, 3.6))
        axes = figure.add_subplot()
        if results.frontier is not None:
            xs = [100 * point.macs_share for point in results.frontier.points]
            ys = [100 * point.accuracy for point in results.frontier.points]
            axes.plot(xs, ys, color=CURVE, linewidth=1.8, label="frontier (calibration split)")
        _draw_exits(axes, results.exits.rows)
        point = [100 * headline.macs_share], [100 * headline.accuracy]
        axes.plot(*point, "*", color=POLICY, markersize=14, label="policy (test split)")
        axes.set(xlabel="mean MACs, % of the plain network (heads included)", ylabel="accuracy, %")
        axes.set_ylim(*_accuracy_limits(results))
        axes.set_xlim(0, 104 * max(headline.macs_share, *(row.macs_share for row in results.exits.rows)))
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.06))
        return inline(figure, "tradeoff", "Accuracy against mean MACs")


def _draw_exits(axes: Any, rows: Sequence[ExitFigures]) -> None:
    xs, ys = [100 * row.macs_share for row in rows], [100 * row.accuracy for row in rows]
    axes.plot(xs, ys, "o", color=STATIC, markersize=6, label="each exit alone (test split)")
    near = {"textcoords": "offset points", "color": STATIC}
    for row, x, y in zip(rows[:-1], xs, ys, strict=False):
        axes.annotate(f"exit {row.exit}", (x, y), xytext=(7, -4), ha="left", **near)
    # To the left, as it sits at the right border.
    axes.annotate("plain", (xs[-1], ys[-1]), xytext=(-5, -12), ha="right", **near)


def _accuracy_limits(results: Results) -> tuple[float, float]:
    """From just below the worst static exit: the frontier's cheap end may reach down much further."""
    shown = [row.accuracy for row in results.exits.rows] + [results.headline.accuracy]
    top = [*shown, *(p.accuracy for p in results.frontier.points)] if results.frontier is not None else shown
    low, high = 100 * min(shown), 100 * max(top)
    margin = max(0.08 * (high - low), 0.3)
    return low - 2 * margin, high + margin


def reliability(exit: ExitReliability) -> str:
    """Accuracy against confidence of one exit, before and after its temperature."""
    name = f"reliability{exit.exit}"
    with drawing(name) as new_figure:
        figure = new_figure(figsize=(2.3, 2.2))
        axes = figure.add_subplot()
        axes.plot([0, 100], [0, 100], color=INK, linewidth=0.8, linestyle=":", alpha=0.7)
        _draw_diagram(axes, exit.before, GREY, "s", "before")
        if exit.after is not None:
            _draw_diagram(axes, exit.after, POLICY, "o", "after")
        axes.set(xlabel="confidence, %", ylabel="accuracy, %", xlim=(0, 102), ylim=(0, 102), aspect="equal")
        axes.set_xticks([0, 25, 50, 75, 100])
        axes.set_yticks([0, 25, 50, 75, 100])
        axes.legend(loc="lower right", handlelength=1.4)
        return inline(figure, name, f"Reliability of exit {exit.exit}")


def _draw_diagram(axes: Any, diagram: Diagram, colour: str, marker: str, label: str) -> None:
    bars = drawn(diagram)
    xs, ys = [100 * (bar.confidence or 0.0) for bar in bars], [100 * (bar.accuracy or 0.0) for bar in bars]
    total = sum(bar.count for bar in diagram.bins)
    # The area of a marker says how many samples are behind it.
    sizes = [6 + 60 * bar.count / total for bar in bars]
    axes.plot(xs, ys, color=colour, linewidth=1.2, label=label)
    axes.scatter(xs, ys, s=sizes, color=colour, marker=marker, zorder=3, linewidths=0)


def drawn(diagram: Diagram) -> list[ReliabilityBin]:
    """The bins with samples enough to be drawn; all that have any, where none has enough."""
    filled = [bar for bar in diagram.bins if bar.count]
    return [bar for bar in filled if bar.count >= FEWEST] or filled


def learning(run: Learning) -> str:
    """Validation accuracy of every exit over the epochs."""
    with drawing("learning") as new_figure:
        figure = new_figure(figsize=(5.2, 2.6))
        axes = figure.add_subplot()
        epochs = list(range(1, len(run.accuracy) + 1))
        exits = len(run.accuracy[0])
        for k in range(exits):
            label = "plain" if k == exits - 1 else f"exit {k}"
            shares = [100 * epoch[k] for epoch in run.accuracy]
            axes.plot(epochs, shares, "o-", color=colour_of(k), markersize=3.5, linewidth=1.5, label=label)
        if run.best_epoch is not None:
            axes.axvline(run.best_epoch, color=INK, linewidth=0.8, linestyle=":", alpha=0.7)
        axes.set(xlabel="epoch", ylabel="validation accuracy, %")
        axes.xaxis.get_major_locator().set_params(integer=True)
        # Above the axes: curves may be anywhere inside.
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(exits, 5), handlelength=1.6)
        return inline(figure, "learning", "Validation accuracy over the epochs")
