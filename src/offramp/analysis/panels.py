"""The paper that figures are drawn on: panels, two in a row, that fit the width of a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from offramp.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE = {
    "axes.labelsize": 7,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
SMALL, TITLE = 7, 8
"""Points, for what does not keep to a style: legends and notes; titles."""
WIDTH = 3.2
"""Inches of a panel: two of them fill the width of a page."""


def panels(count: int, height: float, row: int = 2) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels.

    Args:
        count: of panels.
        height: of each, in inches.
        row: panels side by side; the width of the page is shared between them.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "Figures need matplotlib, which is not installed. Run: pip install 'offramp[bench]'"
        ) from error
    columns = min(count, row)
    rows = -(-count // columns)
    with matplotlib.rc_context(STYLE):
        # Not pyplot, which would choose a backend and keep every figure.
        figure = Figure(figsize=(2 * WIDTH * columns / row, rows * height + 0.5), layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in axes[count:]:
        spare.set_axis_off()
    return figure, axes[:count]


def saved(figure: Figure, stem: Path) -> list[Path]:
    """Writes a figure as PNG and PDF."""
    for panel in figure.axes:
        panel.title.set_fontsize(TITLE)
    paths = [stem.with_suffix(".png"), stem.with_suffix(".pdf")]
    for path in paths:
        figure.savefig(path, dpi=200)
    return paths
