"""`offramp calibrate`: chooses the thresholds of a run for a goal, with a stated risk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from offramp.cli.failures import OK, UsageError
from offramp.cli.options import Common
from offramp.cli.run_folder import RunFolder

if TYPE_CHECKING:
    from offramp.goals import Goal

DROP, DELTA = 0.01, 0.05


def calibrate(
    run: Path,
    /,
    *,
    criterion: str = "max_probability",
    drop: float | None = None,
    delta: float | None = None,
    relative: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    agreement: float | None = None,
    class_drop: float | None = None,
    decile_harm: float | None = None,
    budget: float | None = None,
    test: str = "exact",
    empirical: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    common: Common = Common(),  # noqa: B008 - frozen, so sharing it is safe
) -> int:
    """Choose thresholds for a goal: a largest loss, or a budget of MACs; certified, or empirical.

    Temperatures, and the per-exit thresholds that a certificate tests, come from the validation split; the choice is
    made on the calibration split. Give at most one of --drop, --agreement, --class-drop, --decile-harm and --budget.
    Where no policy reaches the goal, the best there is is shown, nothing is written, and the exit code is 1.

    Args:
        run: run folder of `offramp train`.
        criterion: what is compared with the thresholds, e.g. max_probability, entropy, margin, patience.
        drop: largest drop of accuracy against the plain network, a share; default 0.01, one percentage point.
        delta: probability with which the certificate may be wrong; default 0.05, for a budget none.
        relative: --drop is a share of the plain network's accuracy.
        agreement: least share of samples with the plain network's answer; needs no labels.
        class_drop: largest drop of accuracy in any class.
        decile_harm: largest share that is wrong where the plain network is right, in any tenth of the samples.
        budget: mean MACs as a share of the plain network's; judged empirically unless --delta is given.
        test: how a certificate tests a drop: exact, betting, wsr, harm or hoeffding_bentkus.
        empirical: judge the goal on the calibration samples themselves, without a certificate.
        common: options of every command.
    """
    from offramp.cli.session import Session
    from offramp.cli.steps import calibration

    session = Session(common)
    asked = {
        "drop": drop,
        "agreement": agreement,
        "class_drop": class_drop,
        "decile_harm": decile_harm,
        "budget": budget,
    }
    goal = goal_for(asked, delta, test, relative, empirical)
    code, result = calibration.calibrate(RunFolder(run), criterion, goal, session)
    if code == OK:
        session.say(f"Next: offramp evaluate {run}")
    session.deliver(result)
    return code


def goal_for(asked: dict[str, float | None], delta: float | None, test: str, relative: bool, empirical: bool) -> Goal:
    """The goal that a combination of options asks for.

    Args:
        asked: the options that name a goal, with their values.
        delta: as given.
        test: as given.
        relative: as given.
        empirical: as given.

    Raises:
        UsageError: the options contradict each other, or a value is out of range.
    """
    from offramp.errors import CalibrationError

    given = {name: value for name, value in asked.items() if value is not None}
    if len(given) > 1:
        raise UsageError(f"{_options(given)}: give one of them; each is a goal of its own.")
    if empirical and delta is not None:
        raise UsageError("--empirical asks for no certificate: leave --delta out.")
    name, value = next(iter(given.items()), ("drop", DROP))
    if relative and name != "drop":
        raise UsageError(f"--relative goes with --drop, not with {_options(given)}.")
    try:
        return _goal(name, value, _risk(name, delta, empirical), test, relative)
    except CalibrationError as error:
        raise UsageError(str(error)) from error


def _risk(name: str, delta: float | None, empirical: bool) -> float | None:
    return None if empirical else DELTA if delta is None and name != "budget" else delta


def _goal(name: str, value: float, delta: float | None, test: str, relative: bool) -> Goal:
    from offramp import goals

    # Names of tests that do not exist are refused by the goals themselves.
    match name:
        case "agreement":
            return goals.Agreement(value, delta)
        case "class_drop":
            return goals.ClassDrop(value, delta, test)  # type: ignore[arg-type]
        case "decile_harm":
            return goals.WorstDecileHarm(value, delta)
        case "budget":
            return goals.MACBudget(share=value, delta=delta)
        case _:
            return goals.AccuracyDrop(value, delta, test, relative)  # type: ignore[arg-type]


def _options(given: Iterable[str]) -> str:
    return " and ".join(f"--{name.replace('_', '-')}" for name in given)
