"""`offramp report`: shows the results of a run, in the terminal and as a web page."""

from __future__ import annotations

from pathlib import Path

from offramp.cli.options import Common
from offramp.cli.run_folder import RunFolder


def report(
    run: Path,
    /,
    *,
    common: Common = Common(),  # noqa: B008 - frozen, so sharing it is safe
) -> None:
    """Print the results of a run, and write report.html.

    Args:
        run: run folder with results, see `offramp evaluate`.
        common: options of every command.
    """
    from offramp.cli.session import Session
    from offramp.cli.steps import reporting

    session = Session(common)
    results = reporting.report(RunFolder(run), session)
    session.deliver(reporting.machine_readable(results))
