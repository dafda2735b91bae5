"""matplotlib figures as SVG elements that live inside a page: its fonts, its text colour, no outside references."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from offramp.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the page's text colour: drawn with, then replaced by `currentColor`."""
FONT_SIZE = 9


@contextmanager
def drawing(name: str) -> Iterator[Any]:
    """The class of matplotlib figures, under settings that suit a page; `name` makes element ids its own.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "The HTML report needs matplotlib, which is not installed. Run: pip install 'offramp[report]'"
        ) from error
    ink = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    settings = {
        **dict.fromkeys(ink, INK),
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.size": FONT_SIZE,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": INK,
        "grid.alpha": 0.12,
        "legend.frameon": False,
        "axes.titlesize": FONT_SIZE,
        "axes.linewidth": 0.8,
    }
    with matplotlib.rc_context(settings):
        yield Figure


def inline(figure: Figure, name: str, description: str) -> str:
    """An `<svg>` element that scales with its container.

    Args:
        figure: drawn inside `drawing(name)`.
        name: prefix of all ids, so that several figures on a page do not share any.
        description: read out instead of the picture.
    """
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.04, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'xlink:href="#', f'xlink:href="#{name}-', text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font-size: \1", text)
    text = text.replace(INK, "currentColor")
    # Without its own size the picture takes the width of its container, by the aspect ratio of its viewBox.
    text = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1)
