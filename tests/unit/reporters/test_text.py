from __future__ import annotations

import io

from rich.console import Console

from offramp.reporters import Results, text


def shown(results: Results) -> str:
    file = io.StringIO()
    text.show(results, Console(file=file, width=80))
    return file.getvalue()


def test_tables_fit_eighty_columns(results: Results) -> None:
    assert max(len(line) for line in shown(results).splitlines()) <= 80


def test_contents(results: Results) -> None:
    words = " ".join(shown(results).split())
    assert f"{100 * results.headline.accuracy:.2f} %" in words
    assert "4.00x faster" in words
    assert "n/a" in words
    assert "This assumes" in words
    assert "test split, n = 90, seed 1, cpu" in words
    assert "90 of 90 samples at the same exit" in words
    assert "evaluated 2 times" in words


def test_brackets_in_names_are_not_taken_for_markup(results: Results) -> None:
    assert "[bold]" in shown(results)
