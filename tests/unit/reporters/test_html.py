from __future__ import annotations

import dataclasses
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import offramp as ofr
from offramp.errors import MissingExtraError
from offramp.reporters import Provenance, Results, Subject, html
from offramp.reporters.figures import FEWEST, drawn
from offramp.reporters.markup import Markup, tag

pytest.importorskip("matplotlib")

VOID = {"meta", "img", "br", "link", "input", "hr"}
LOADING = {"src", "href", "xlink:href", "data", "poster", "action", "srcset"}


class Page(HTMLParser):
    """Checks nesting while it reads, and collects what the tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            self.attributes.append((name, value or ""))
            if name == "id":
                self.ids.append(value or "")
            if name in LOADING:
                self.references.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


@pytest.fixture
def text(results: Results) -> str:
    return html.render(results)


@pytest.fixture
def page(text: str) -> Page:
    return Page(text)


def test_elements_are_nested_properly(page: Page) -> None:
    assert page.open == []


def test_nothing_is_loaded_from_anywhere(text: str, page: Page) -> None:
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    assert page.references
    assert all(reference.startswith(("#", "data:image/png;base64,")) for reference in page.references)
    assert not re.search(r"@import|url\((?!#)", text)
    # Names of XML dialects look like addresses, but nobody fetches them.
    without_dialects = re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    assert not re.search(r"https?://", without_dialects)


def test_text_from_outside_cannot_become_markup(text: str, page: Page) -> None:
    assert "<script" not in text
    assert "<script>alert('x')</script>" in page.words
    assert all("[bold]" in value for _, value in page.attributes if "alert(" in value)


def test_all_contents_are_there(page: Page) -> None:
    for heading in (
        "Accuracy against MACs",
        "Exits",
        "Certificate",
        "Measured time",
        "Reliability",
        "Easy and hard images",
        "Training",
        "Provenance",
    ):
        assert heading in page.words
    assert page.tags.count("svg") == 1 + 3 + 1
    assert "exchangeable" in page.words
    assert "4.00x" in page.words
    assert "2 times" in page.words
    assert "calibration split, n = 300, seed 3, cpu" in page.words


def test_numbers_are_those_of_the_results(results: Results, page: Page) -> None:
    assert f"{100 * results.headline.accuracy:.2f} %" in page.words
    for row in results.exits.rows:
        assert f"{100 * row.accuracy:.2f} %" in page.words
    for exit in results.reliability.exits:
        assert f"ECE {100 * exit.before.ece:.2f} % before" in page.words


def test_what_does_not_apply_is_not_zero(results: Results, text: str, page: Page) -> None:
    skipped = next(row for row in re.findall(r"<tr>.*?</tr>", text) if "0.8000" in row or "0.800" in row)
    cells = re.findall(r"<td[^>]*>(.*?)</td>", skipped)
    assert cells[3:6] == ["0.0 %", "0", "n/a"]
    assert "n/a: nobody left here." in page.words


def test_ids_are_unique(page: Page) -> None:
    assert page.ids
    assert len(page.ids) == len(set(page.ids))


def test_figures_take_the_colour_and_width_of_the_page(text: str) -> None:
    assert "currentColor" in text
    assert "#010203" not in text
    for head in re.findall(r"<svg[^>]*>", text):
        assert "viewBox" in head
        assert not re.search(r"\s(width|height)=", head)


def test_sections_that_were_not_computed_are_left_out(
    recording: ofr.Recording, policy: ofr.Policy, subject: Subject, provenance: Provenance
) -> None:
    page = Page(html.render(Results.of(recording, policy, subject, provenance)))
    assert page.open == []
    for heading in ("Measured time", "Easy and hard images", "Training"):
        assert heading not in page.words
    assert "did not come from a calibration" in page.words


def test_slower_is_called_slower(results: Results) -> None:
    (speed,) = results.speed
    slower = dataclasses.replace(results, speed=(dataclasses.replace(speed, ratio=1.25),))
    assert "1.25x slower" in Page(html.render(slower)).words


def test_a_page_is_written_whole_or_not_at_all(results: Results, tmp_path: Path, text: str) -> None:
    html.write(results, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf8") == text
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_without_matplotlib_the_extra_is_named(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'offramp\[report\]'"):
        html.render(results)


def test_markup_escapes_text_and_attributes_once() -> None:
    inner = tag("b", "1 < 2")
    assert tag("p", inner, title='"<&') == '<p title="&quot;&lt;&amp;"><b>1 &lt; 2</b></p>'
    assert tag("p", Markup("<i>x</i>"), aria_label="y", hidden=None) == '<p aria-label="y"><i>x</i></p>'


def test_bins_of_few_samples_are_not_drawn(results: Results) -> None:
    diagram = results.reliability.exits[0].before
    few, many, none = (dataclasses.replace(diagram.bins[-1], count=n) for n in (FEWEST - 1, FEWEST, 0))
    assert drawn(dataclasses.replace(diagram, bins=(few, many, none))) == [many]
    assert drawn(dataclasses.replace(diagram, bins=(few, none))) == [few]
