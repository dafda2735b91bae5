"""Figures of a benchmark from the results of its runs alone: frontiers, and differences between regimes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offramp.analysis.panels import SMALL, panels, saved
from offramp.benchmark import comparing
from offramp.benchmark.comparing import Board, Interval
from offramp.benchmark.report import criteria_of
from offramp.benchmark.results import Results
from offramp.benchmark.scoring import BUDGETS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"disjoint": "#0072b2", "joint": "#d55e00", "mixed": "#009e73"}
"""Of the paper's regimes, told apart by everyone; the others are grey."""


def write_figures(results: Results) -> list[Path]:
    """Draws every figure as PNG and PDF into the folder `figures`; those for equal time end in "-time".

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    runs = results.all()
    criterion = criteria_of(runs)[0]
    folder = results.folder / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    boards = {"": Board(runs, "compute"), "-time": Board(runs, "time")}
    drawn = {
        f"{name}{ending}": draw(board, criterion)
        for ending, board in boards.items()
        if board.problems
        for name, draw in (("frontiers", frontiers), ("differences", differences))
    }
    return [path for name, figure in drawn.items() for path in saved(figure, folder / name)]


def frontiers(board: Board, criterion: str) -> Figure:
    """Accuracy against the budget of MACs, one panel per problem: means over seeds, bands of 95 %."""
    names = dict.fromkeys(regime for problem in board.problems for regime in board.with_exits(problem))
    figure, drawn = panels(len(board.problems), height=2.6)
    for axes, problem in zip(drawn, board.problems, strict=True):
        for regime in board.with_exits(problem):
            _frontier(axes, board, problem, regime, criterion, _look(regime, list(names)))
        axes.set(title=problem, xlabel="MACs, % of the backbone's", ylabel="test accuracy, %")
    handles, labels = drawn[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=SMALL)
    return figure


def _difference(axes: Axes, row: int, found: Interval, colour: str) -> None:
    """A filled point where it is resolved, a hollow one where not; one seed has no interval."""
    reach = [[100 * (found.mean - found.low)], [100 * (found.high - found.mean)]] if found.seeds > 1 else None
    face = colour if found.resolved else "white"
    place = ([100 * found.mean], [row])
    axes.errorbar(*place, xerr=reach, fmt="o", color=colour, markerfacecolor=face, markersize=3, linewidth=1)


def _frontier(axes: Axes, board: Board, problem: str, regime: str, criterion: str, look: Mapping[str, Any]) -> None:
    found = [board.level(problem, regime, comparing.within(share, criterion)) for share in BUDGETS]
    points = [(100 * share, f) for share, f in zip(BUDGETS, found, strict=True) if f is not None]
    axes.plot([x for x, _ in points], [100 * f.mean for _, f in points], label=regime, **look)
    if regime in COLOURS and all(f.seeds > 1 for _, f in points):
        low, high = [100 * f.low for _, f in points], [100 * f.high for _, f in points]
        axes.fill_between([x for x, _ in points], low, high, color=look["color"], alpha=0.15, linewidth=0)


def _look(regime: str, names: Sequence[str]) -> dict[str, Any]:
    base = regime.removesuffix("-long")
    if base in COLOURS:
        return {"color": COLOURS[base], "linewidth": 1.6, "linestyle": "--" if base != regime else "-"}
    others = [name for name in names if name.removesuffix("-long") not in COLOURS]
    place = others.index(regime)
    dashes = ["-", "--", ":", "-."][place % 4]
    return {"color": str(0.35 + 0.1 * (place // 4 % 3)), "linewidth": 0.9, "linestyle": dashes}


def differences(board: Board, criterion: str, other: str = "joint") -> Figure:
    """Area under the frontier minus that of another regime, in points, with paired intervals of 95 %."""
    figure, drawn = panels(len(board.problems), height=2.4)
    for axes, problem in zip(drawn, board.problems, strict=True):
        regimes = [name for name in board.with_exits(problem) if name != other]
        for row, regime in enumerate(reversed(regimes)):
            found = board.difference(problem, regime, other, comparing.area(criterion))
            if found is not None:
                _difference(axes, row, found, COLOURS.get(regime, "0.3"))
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(regimes)), labels=list(reversed(regimes)))
        axes.set(title=problem, xlabel=f"area minus {other}'s, points")
    return figure
