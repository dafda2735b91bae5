"""Writes the tables of a results folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from offramp.benchmark import comparing, tables
from offramp.benchmark.comparing import Board, Interval
from offramp.benchmark.results import Results, RunResult
from offramp.errors import BenchmarkError


@dataclass(frozen=True)
class Report:
    """Tables of a results folder.

    Attributes:
        path: of the file they were written to.
        text: the tables, in Markdown.
        data: levels of every measure by problem and regime, as plain data: at equal compute by criterion, and the same
            for equal time under "equal_time".
    """

    path: Path
    text: str
    data: dict[str, Any]


def write_report(results: Results) -> Report:
    """Writes `tables.md` from the runs that are finished.

    Raises:
        BenchmarkError: there is none, or a file is damaged or cannot be written.
        MissingExtraError: SciPy is not installed.
    """
    runs = results.all()
    if not runs:
        raise BenchmarkError(f"There is no finished run in {results.folder}. Run: offramp bench regimes")
    board, criteria = Board(runs), criteria_of(runs)
    text = tables.document(board, criteria)
    path = results.folder / "tables.md"
    try:
        path.write_text(text, encoding="utf8")
    except OSError as error:
        raise BenchmarkError(f"{path} cannot be written ({error}). Choose another folder with --out.") from error
    timed = board.matched_by("time")
    data = {name: plain(board, name) for name in criteria}
    return Report(path, text, {**data, "equal_time": {name: plain(timed, name) for name in criteria}})


def criteria_of(runs: list[RunResult]) -> list[str]:
    """Names of the criteria that every run with exits was judged under, in the order of the first."""
    judged = [list(run.figures["frontier"]) for run in runs if "frontier" in run.figures]
    return [name for name in (judged[0] if judged else []) if all(name in names for names in judged)]


def plain(board: Board, criterion: str) -> dict[str, Any]:
    """Levels of every measure, by problem and regime."""
    measures = {**tables.columns(criterion), "seconds": comparing.seconds}
    return {
        problem: {
            regime: {name: _plain(board.level(problem, regime, measure)) for name, measure in measures.items()}
            for regime in board.regimes(problem)
        }
        for problem in board.problems
    }


def _plain(found: Interval | None) -> dict[str, Any] | None:
    if found is None:
        return None
    # JSON knows no infinity, which is how wide the interval of a single seed is.
    return asdict(found) if found.seeds > 1 else {"mean": found.mean, "low": None, "high": None, "seeds": 1}
