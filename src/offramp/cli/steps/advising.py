"""Compares criteria and goals on recorded samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

import offramp as ofr
from offramp.advice import Choice
from offramp.advice.findings import Interval
from offramp.cli.failures import UsageError
from offramp.cli.materials import check_name
from offramp.cli.run_folder import RunFolder
from offramp.cli.session import Session
from offramp.criteria import CRITERIA, Criterion, ready_made
from offramp.documents import DocumentKind
from offramp.errors import CalibrationError
from offramp.goals import AccuracyDrop, Agreement, Goal, MACBudget
from offramp.reporters import wording

KIND = DocumentKind("offramp.advice", 1, "advice", "Write one with: offramp advise --json FILE RUN")


@dataclass(frozen=True)
class Asked:
    """Options of `offramp advise`; see there."""

    criteria: tuple[str, ...]
    drop: float
    delta: float
    agreement: float
    budget: float
    folds: int
    seed: int

    def chosen(self) -> list[Criterion] | None:
        """The criteria to compare; None for all.

        Raises:
            UsageError: there is no such criterion, or it needs parameters.
        """
        for name in self.criteria:
            check_name("criterion", name, ready_made())
        return [CRITERIA[name]() for name in self.criteria] or None

    def goals(self) -> tuple[Goal, ...]:
        """The goals to compare for.

        Raises:
            UsageError: a value is out of range.
        """
        try:
            return (
                AccuracyDrop(self.drop),
                AccuracyDrop(self.drop, delta=self.delta),
                Agreement(self.agreement),
                MACBudget(share=self.budget),
            )
        except CalibrationError as error:
            raise UsageError(str(error)) from error


def advise(target: Path, asked: Asked, session: Session) -> dict[str, Any]:
    """Compares, and prints what came of it.

    Returns:
        The advice as plain data.

    Raises:
        UsageError: an option is out of range.
        FileFormatError: the target is no run with recordings, and no recording.
        CalibrationError: there is nothing to choose, or too few samples.
    """
    criteria, goals = asked.chosen(), asked.goals()
    recording, tuning = _recordings(target)
    session.say(f"Comparing on {recording.samples:,} samples, {asked.folds} folds ...")
    advice = ofr.advise(recording, criteria, goals, tuning=tuning, folds=asked.folds, seed=asked.seed)
    for goal in dict.fromkeys(choice.goal_in_words for choice in advice.choices):
        ranked = [choice for choice in advice.choices if choice.goal_in_words == goal]
        session.console.print(_table(goal, ranked, advice.folds), highlight=False)
    session.say(_legend(advice))
    session.say(_alone(advice))
    session.say(_depth(advice))
    session.say(f"[bold]{advice.describe()}[/]")
    return KIND.stamp(advice.to_dict())


def _recordings(target: Path) -> tuple[ofr.Recording, ofr.Recording | None]:
    if not target.is_dir():
        return ofr.Recording.load(target), None
    run = RunFolder(target)
    run.check()
    return ofr.Recording.load(run.recording("calibration")), ofr.Recording.load(run.recording("validation"))


def _table(goal: str, ranked: list[Choice], folds: int) -> Table:
    table = Table(title=goal, title_justify="left")
    table.add_column("criterion", no_wrap=True)
    for name in ("", "accuracy", "drop, points", "MACs", "gain, points"):
        table.add_column(name, justify="right")
    for choice in ranked:
        reached = choice.infeasible_folds < folds
        table.add_row(
            str(choice.criterion["name"]),
            "=" if choice.equal_to_best and reached else "",
            wording.percent(choice.accuracy),
            _points(choice.drop),
            f"{choice.macs_share.value:.3f}",
            _gain(choice, folds),
        )
    return table


def _legend(advice: ofr.Advice) -> str:
    return (
        f"{advice.samples:,} samples, {advice.folds} folds, intervals of {100 * advice.confidence:g} %. Drop: accuracy "
        "lost against the plain network, MACs: as a share of its own; gain: accuracy above the exits used alone, mixed "
        "at random, at the same MACs. = marks the best for the goal and what cannot be told from it."
    )


def _gain(choice: Choice, folds: int) -> str:
    if choice.infeasible_folds == folds:
        return "out of reach"
    missed = f" ({choice.infeasible_folds} of {folds} folds infeasible)" if choice.infeasible_folds else ""
    return _points(choice.gain) + missed


def _points(figure: Interval) -> str:
    """The interval is as wide to both sides."""
    return f"{wording.points(figure.value)} ± {100 * (figure.high - figure.value):.2f}"


def _alone(advice: ofr.Advice) -> str:
    rows = [f"exit {s.exit}: {wording.percent(s.accuracy.value)} at {s.macs_share:.3f}" for s in advice.statics]
    return f"The exits used alone, without a decision: {'; '.join(rows)} of the plain network's MACs."


def _depth(advice: ofr.Advice) -> str:
    found = advice.overthinking
    return (
        f"Depth is wasted on {wording.percent(found.wasteful, 1)} of the samples and destroys the answer of "
        f"{wording.percent(found.destructive, 1)}. A decision that saw the labels would reach "
        f"{wording.percent(found.oracle_accuracy)} at {found.oracle_macs_share:.3f} of the MACs."
    )
