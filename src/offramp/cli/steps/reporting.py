"""Shows the results of a run."""

from __future__ import annotations

from typing import Any

from offramp.cli.run_folder import RunFolder
from offramp.cli.session import Session
from offramp.reporters import Results, html, text


def report(run: RunFolder, session: Session) -> Results:
    """Prints the results and writes `report.html`.

    Raises:
        FileFormatError: the folder is no run, it has no results, or they are damaged.
        MissingExtraError: matplotlib is not installed.
    """
    run.check()
    results = Results.load(run.results)
    show(results, session)
    html.write(results, run.report)
    session.say(f"Report: {run.report}")
    return results


def show(results: Results, session: Session) -> None:
    """Prints the results as tables."""
    text.show(results, session.console)


def machine_readable(results: Results) -> dict[str, Any]:
    """The results as plain data, without the images."""
    return {name: value for name, value in results.to_dict().items() if name != "gallery"}
