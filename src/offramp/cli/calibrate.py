"""`offramp calibrate`: chooses the thresholds of a run for a goal, with a stated risk."""

from __future__ import annotations

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
    budget: float | None = None,
    test: str = "exact",
    empirical: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    common: Common = Common(),  # noqa: B008 - frozen, so sharing it is safe
) -> int:
    """Choose thresholds for a goal: a largest drop of accuracy, certified, or a budget of MACs.

    Temperatures are fitted on the validation split, thresholds on the calibration split. Where no policy reaches the
    goal, the best there is is shown, nothing is written, and the exit code is 1.

    Args:
        run: run folder of `offramp train`.
        criterion: what is compared with the thresholds, e.g. max_probability, entropy, margin, patience.
        drop: largest drop of accuracy against the plain network, a share; default 0.01, one percentage point.
        delta: probability with which the certificate may be wrong; default 0.05.
        budget: instead of a drop: mean MACs as a share of the plain network's, judged empirically.
        test: how a certificate tests the drop: exact, betting or harm.
        empirical: judge the drop on the calibration samples themselves, without a certificate.
        common: options of every command.
    """
    from offramp.cli.session import Session
    from offramp.cli.steps import calibration

    session = Session(common)
    goal = goal_for(drop, delta, budget, test, empirical)
    code, result = calibration.calibrate(RunFolder(run), criterion, goal, session)
    if code == OK:
        session.say(f"Next: offramp evaluate {run}")
    session.deliver(result)
    return code


def goal_for(drop: float | None, delta: float | None, budget: float | None, test: str, empirical: bool) -> Goal:
    """The goal that a combination of options asks for.

    Raises:
        UsageError: the options contradict each other, or a value is out of range.
    """
    from offramp.errors import CalibrationError
    from offramp.goals import AccuracyDrop, MACBudget

    if budget is not None and (drop, delta) != (None, None):
        raise UsageError("--budget is judged empirically: it goes neither with --drop nor with --delta.")
    if empirical and delta is not None:
        raise UsageError("--empirical asks for no certificate: leave --delta out.")
    try:
        if budget is not None:
            return MACBudget(share=budget)
        risk = None if empirical else DELTA if delta is None else delta
        # The goal itself refuses names of tests that do not exist.
        return AccuracyDrop(DROP if drop is None else drop, risk, test)  # type: ignore[arg-type]
    except CalibrationError as error:
        raise UsageError(str(error)) from error
