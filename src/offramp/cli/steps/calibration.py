"""Chooses the policy of a run from its recordings."""

from __future__ import annotations

from typing import Any

from rich.table import Table

import offramp as ofr
from offramp.calibrators import Evidence, Outcome
from offramp.cli.failures import FAILURE, OK, say
from offramp.cli.materials import check_name
from offramp.cli.run_folder import CALIBRATION, RunFolder
from offramp.cli.session import Session
from offramp.criteria import CRITERIA, ready_made
from offramp.goals import Goal
from offramp.reporters import wording


def calibrate(run: RunFolder, criterion: str, goal: Goal, session: Session) -> tuple[int, dict[str, Any]]:
    """Fits temperatures on the validation recording and chooses thresholds on the calibration recording.

    Returns:
        Exit code, and the outcome as plain data. Policy and evidence are in the folder only where the goal is reached.

    Raises:
        UsageError: there is no such criterion.
        FileFormatError: the run has no recordings, or they are damaged.
        CalibrationError: the goal and the recordings do not fit.
    """
    check_name("criterion", criterion, ready_made())
    run.check()
    session.say(f"Goal: {goal.describe()}.")
    outcome = ofr.calibrate(
        ofr.Recording.load(run.recording("calibration")),
        criterion=CRITERIA[criterion](),
        goal=goal,
        tuning=ofr.Recording.load(run.recording("validation")),
    )
    result = CALIBRATION.stamp(outcome.to_dict())
    show(outcome, session)
    if isinstance(outcome, ofr.Infeasible):
        say("[bold red]Infeasible:[/] nothing was written; the best there is is shown above.")
        return FAILURE, result
    CALIBRATION.write(run.calibration, result)
    outcome.policy.save(run.policy)
    return OK, result


def show(outcome: Outcome, session: Session) -> None:
    """Prints the policy and its figures."""
    if isinstance(outcome, ofr.Infeasible):
        say(f"[bold red]Infeasible:[/] {outcome.reason}")
    policy = outcome.best if isinstance(outcome, ofr.Infeasible) else outcome.policy
    session.console.print(_exit_table(policy, outcome.evidence), highlight=False)
    session.say(f"{outcome.evidence.method}: {outcome.evidence.describe()}.")
    if outcome.evidence.assumption:
        session.say(f"This assumes: {outcome.evidence.assumption}.")
    if outcome.evidence.caution:
        session.say(f"[bold yellow]{outcome.evidence.caution}[/]")


def _exit_table(policy: ofr.Policy, evidence: Evidence) -> Table:
    table = Table("exit", title="Policy", caption=f"{evidence.split} split, n = {evidence.samples:,}")
    for name in ("threshold", "temperature", "leave here"):
        table.add_column(name, justify="right")
    rows = policy.to_dict()
    temperatures = rows["temperatures"] or [None] * len(rows["thresholds"])
    for k, share in enumerate(evidence.shares):
        table.add_row(
            str(k),
            wording.threshold([*rows["thresholds"], None][k]),
            wording.temperature([*temperatures, None][k]),
            wording.percent(share, 1),
        )
    return table
