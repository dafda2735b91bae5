"""Chooses the thresholds by a goal, on training images that were held out for that: `--calibrate drop=1% delta=5%`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import offramp as ofr
from offramp.cli.failures import UsageError
from offramp.cli.steps.classification.setting import Setting
from offramp.errors import CalibrationError
from offramp.goals import AccuracyDrop

KEYS = ("drop", "delta")


@dataclass(frozen=True)
class Asked:
    """What `--calibrate` asks for.

    Attributes:
        drop: most that accuracy may fall, a share.
        delta: risk that it falls by more; None for an empirical choice.
    """

    drop: float
    delta: float | None

    @property
    def goal(self) -> AccuracyDrop:
        """The goal.

        Raises:
            UsageError: a number is out of range.
        """
        try:
            return AccuracyDrop(self.drop, self.delta)
        except CalibrationError as error:
            raise UsageError(f"--calibrate: {error}") from error


def parse(words: Sequence[str]) -> Asked:
    """Reads `drop=1% delta=5%`; shares may be written as 0.01 too.

    Raises:
        UsageError: a word is none of these.

    Example:
        >>> parse(["drop=1%", "delta=0.05"])
        Asked(drop=0.01, delta=0.05)
    """
    found: dict[str, float] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key not in KEYS or key in found:
            raise UsageError(f"--calibrate {' '.join(words)}: give drop=SHARE, and delta=SHARE for a certificate.")
        found[key] = _share(word, value)
    if "drop" not in found:
        raise UsageError(f"--calibrate {' '.join(words)}: say how much accuracy may fall, e.g. drop=1%.")
    return Asked(found["drop"], found.get("delta"))


def calibrate(setting: Setting, model: ofr.ExitModel) -> tuple[ofr.Policy, dict[str, Any]]:
    """The policy that reaches the goal at the least cost; where there is none, nobody leaves early.

    Temperatures come from the validation split, thresholds from the calibration split; the test split is not seen.

    Returns:
        The policy, and the outcome as plain data.
    """
    goal, journal = parse(setting.options.exits.calibrate or ()).goal, setting.journal
    journal.say(f"--- calibrate: {goal.describe()} ---")
    recordings = {
        split: ofr.record(model, loader, {"split": split, "seed": setting.seed})
        for split, loader in (("calibration", setting.images.calibration), ("validation", setting.images.validation))
        if loader is not None
    }
    outcome = ofr.calibrate(recordings["calibration"], setting.policy.criterion, goal, tuning=recordings["validation"])
    journal.say(f"{outcome.evidence.method}: {outcome.evidence.describe()}.")
    result = outcome.to_dict()
    if isinstance(outcome, ofr.Infeasible):
        journal.say(f"INFEASIBLE: {outcome.reason} No sample leaves early.")
        return setting.policy, result
    if outcome.evidence.assumption:
        journal.say(f"This assumes: {outcome.evidence.assumption}.")
    return outcome.policy, result


def _share(word: str, value: str) -> float:
    try:
        return float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    except ValueError as error:
        raise UsageError(f"--calibrate {word}: {value!r} is no share; write 1% or 0.01.") from error
