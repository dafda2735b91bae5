"""Draws the figures of the documentation from the results files.

python benchmarks/plots.py
"""

from __future__ import annotations

from typing import Any

import matplotlib as mpl

from tables import ROOT, load

mpl.use("svg")
# The same figures give the same files.
mpl.rcParams.update({"svg.hashsalt": "offramp", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})

from matplotlib import pyplot as plt  # noqa: E402

IMAGES = ROOT / "docs" / "images"
PANELS = (
    ("resnet18", 64),
    ("resnet18", 256),
    ("resnet56_cifar", 64),
    ("resnet56_cifar", 256),
    ("vit", 32),
    ("bert", 32),
)
BACKENDS = ("eager", "compile", "aoti", "onnxruntime", "openvino")


def bound() -> None:
    """How close each backend comes to the bound, and how much faster than plain it is, on one thread."""
    rows = [r for r in load("runtime")["rows"] if r["threads"] == 1]
    figure, axes = plt.subplots(2, len(PANELS), figsize=(11, 4.6), sharex=True, sharey="row", layout="constrained")
    for column, (network, batch) in enumerate(PANELS):
        axes[0][column].set_title(f"{network}\nbatch {batch}", fontsize=9)
        for backend in BACKENDS:
            found = [r for r in rows if (r["network"], r["batch"], r["backend"]) == (network, batch, backend)]
            draw(axes[0][column], found, "percent_of_bound", backend)
            draw(axes[1][column], found, "speed_up", backend)
        axes[0][column].axhline(100, color="0.6", linewidth=0.8)
        axes[1][column].axhline(1, color="0.6", linewidth=0.8)
    axes[0][0].set_ylabel("% of the bound")
    axes[1][0].set_ylabel("times faster than plain")
    figure.supxlabel("share of the arriving rows that leaves at each early exit, %", fontsize=9)
    figure.legend(
        *axes[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=len(BACKENDS), frameon=False
    )
    save(figure, "bound")


def draw(axes: Any, rows: list[dict[str, Any]], name: str, label: str) -> None:
    """One line over the exit rates."""
    points = sorted((100 * r["exit_rate"], r[name]) for r in rows)
    axes.plot(*zip(*points, strict=True), marker="o", markersize=3, linewidth=1.2, label=label)


def save(figure: Any, name: str) -> None:
    """As a vector graphic without a date."""
    IMAGES.mkdir(exist_ok=True)
    figure.savefig(IMAGES / f"{name}.svg", metadata={"Date": None})
    print(IMAGES / f"{name}.svg")


if __name__ == "__main__":
    bound()
