"""Runs a suite, and shows what its results say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from offramp.benchmark import Results, Shard, Suite, bench
from offramp.benchmark.figures import write_figures
from offramp.benchmark.report import write_report
from offramp.cli.session import Session
from offramp.cli.steps import surroundings
from offramp.errors import MissingExtraError


def with_seed(suite: Suite, seed: int) -> Suite:
    """The suite with this seed alone."""
    return replace(suite, seeds=(seed,))


def run(suite: Suite, results: Results, shard: Shard, session: Session) -> None:
    """Does what is not done yet.

    Raises:
        BenchmarkError: a finished run has another configuration.
        DataError: a data set cannot be had.
    """
    session.say(f"Suite {suite.name}: results in {results.folder}")
    made = {
        "commit": surroundings.commit(),
        "device": surroundings.device_name(session.device),
        "date": surroundings.now(),
        "versions": surroundings.versions(),
    }
    bench(suite, results, session.device, shard=shard, made=made, tell=session.say)


def show(results: Results, session: Session) -> dict[str, Any]:
    """Writes tables and figures, prints the tables, and gives them as plain data."""
    report = write_report(results)
    session.console.print(report.text, markup=False, highlight=False, soft_wrap=True)
    try:
        drawn = write_figures(results)
    except MissingExtraError as error:
        session.announce(f"No figures: {error}")
        drawn = []
    session.say(f"Tables: {report.path}" + "".join(f"\nFigure: {path}" for path in drawn))
    return report.data
