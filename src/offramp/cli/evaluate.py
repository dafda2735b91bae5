"""`offramp evaluate`: takes the exits for real on the test split, and measures what was gained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from offramp.cli.options import Common
from offramp.cli.run_folder import RunFolder


def evaluate(
    run: Path,
    /,
    *,
    again: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    common: Common = Common(),  # noqa: B008 - frozen, so sharing it is safe
) -> None:
    """Take the exits for real on the test split, compare with the plain network, and measure time.

    The test split is there to be looked at once: a second evaluation of the same policy must be asked for.

    Args:
        run: run folder with a policy, see `offramp calibrate`.
        again: evaluate though the policy was evaluated before; results say how often that happened.
        common: options of every command.
    """
    from offramp.cli.session import Session
    from offramp.cli.steps import evaluation, reporting

    session = Session(common)
    results = evaluation.evaluate(RunFolder(run), session, again)
    reporting.show(results, session)
    session.say(f"Next: offramp report {run}")
    session.deliver(reporting.machine_readable(results))
