"""Small pieces of HTML. Every text given to these functions is escaped; only `Markup` goes in as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape


class Markup(str):
    """A string that is HTML already."""

    __slots__ = ()


def safe(text: object) -> Markup:
    """HTML that shows `text`; markup stays markup."""
    return text if isinstance(text, Markup) else Markup(escape(str(text)))


def join(parts: Iterable[object]) -> Markup:
    """The parts one after the other."""
    return Markup("".join(safe(part) for part in parts))


def tag(name: str, *content: object, **attributes: object) -> Markup:
    """An element; `class_` becomes `class` and `aria_label` `aria-label`; an attribute that is None is left out.

    Example:
        >>> tag("p", "1 < 2", class_="note")
        '<p class="note">1 &lt; 2</p>'
    """
    return Markup(f"<{name}{_attributes(attributes)}>{join(content)}</{name}>")


def void(name: str, **attributes: object) -> Markup:
    """An element that has no content, such as `img`; attributes as for `tag`."""
    return Markup(f"<{name}{_attributes(attributes)}>")


def _attributes(attributes: Mapping[str, object]) -> str:
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    return "".join(f' {key}="{escape(str(value))}"' for key, value in given.items())


def table(headers: Sequence[object], rows: Iterable[Sequence[object]], caption: object, words: int = 1) -> Markup:
    """A table that scrolls sideways where the page is too narrow for it.

    Args:
        headers: of the columns.
        rows: cells of each row; the first cell is the row's header.
        caption: says where the numbers come from.
        words: how many columns, from the left, hold words: they are aligned left, the rest right.
    """
    head = tag("tr", *(tag("th", cell, scope="col", class_=_side(i, words)) for i, cell in enumerate(headers)))
    body = join(
        tag(
            "tr",
            tag("th", row[0], scope="row", class_="words"),
            *(tag("td", cell, class_=_side(i, words)) for i, cell in enumerate(row[1:], start=1)),
        )
        for row in rows
    )
    inner = tag("table", tag("thead", head), tag("tbody", body))
    return tag("figure", tag("div", inner, class_="wide"), tag("figcaption", caption))


def pairs(rows: Iterable[tuple[object, object]], caption: object) -> Markup:
    """A list of names and values."""
    body = (
        tag("tr", tag("th", name, scope="row", class_="words"), tag("td", value, class_="words"))
        for name, value in rows
    )
    return tag("figure", tag("table", tag("tbody", *body), class_="pairs"), tag("figcaption", caption))


def _side(column: int, words: int) -> str | None:
    return "words" if column < words else None


def picture(svg: str, caption: object, class_: str | None = None) -> Markup:
    """A drawing with its caption."""
    return tag("figure", Markup(svg), tag("figcaption", caption), class_=class_)


def section(title: str, *content: object) -> Markup:
    """A part of the page under a heading."""
    return tag("section", tag("h2", title), *content)
