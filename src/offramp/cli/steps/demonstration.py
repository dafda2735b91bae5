"""The demo: every step of a run, one after the other, each only where it is not done yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from offramp import data as datasets
from offramp.cli.failures import OK
from offramp.cli.materials import check_name
from offramp.cli.run_folder import RunFolder
from offramp.cli.session import Session
from offramp.cli.steps import calibration, evaluation, reporting, training
from offramp.goals import AccuracyDrop

if TYPE_CHECKING:
    from offramp.cli.demo import DemoRecipe


def choose_recipe(wanted: str | None, recipes: Mapping[str, DemoRecipe]) -> tuple[DemoRecipe, str]:
    """The recipe for a data set, and what must be announced about it.

    Args:
        wanted: name of a data set; None takes Fashion-MNIST, or the digits where it cannot be had.
        recipes: by name of the data set.

    Raises:
        UsageError: there is no recipe for it.
        DataError: no data set can be had.
    """
    if wanted is not None:
        check_name("data", wanted, recipes)
        return recipes[wanted], ""
    part, _ = datasets.load()
    return recipes[part.name], part.notice


def run(folder: RunFolder, recipe: DemoRecipe, notice: str, session: Session) -> tuple[int, dict[str, Any]]:
    """Trains, calibrates, evaluates and reports.

    Returns:
        Exit code, and the results as plain data, or the outcome of the calibration where the goal was not reached.

    Raises:
        OfframpError: a step failed.
    """
    session.announce(notice)
    request = recipe.request(session.seed())
    folder.claim(request, resume=True)
    if not folder.trained:
        training.train(folder, request, session, resume=True, notice=notice)
    if not folder.policy.exists():
        goal = AccuracyDrop(recipe.points, recipe.delta)
        code, outcome = calibration.calibrate(folder, recipe.criterion, goal, session)
        if code != OK:
            return code, outcome
    if evaluation.evaluated(folder):
        session.say(f"{folder.path} is complete. For another run give another --seed or --out.")
    else:
        evaluation.evaluate(folder, session, again=False)
    return OK, reporting.machine_readable(reporting.report(folder, session))
