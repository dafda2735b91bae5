"""`offramp advise`, and the goals of `offramp calibrate`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from offramp.cli import failures, main
from offramp.cli.calibrate import goal_for
from offramp.errors import OfframpError
from offramp.goals import AccuracyDrop, Agreement, ClassDrop, Goal, MACBudget, WorstDecileHarm

NOTHING: dict[str, float | None] = dict.fromkeys(("drop", "agreement", "class_drop", "decile_harm", "budget"))


def test_a_run_is_advised_on(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "advice.json"
    criteria = ["--criteria", "margin", "entropy"]
    assert main(["advise", str(trained), *criteria, "--folds", "2", "--json", str(out)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    advice = json.loads(out.read_text())
    assert (advice["format"], advice["version"]) == ("offramp.advice", 1)
    assert {choice["criterion"]["name"] for choice in advice["choices"]} == {"margin", "entropy"}
    assert ("Exits pay here" in shown) == advice["pays"]
    assert ("Exits do not pay here" in shown) != advice["pays"]
    assert "The exits used alone" in shown


def test_a_recording_is_advised_on(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = trained / "recordings" / "calibration.safetensors"
    assert main(["advise", str(recording), "--criteria", "margin", "--folds", "2"]) == 0
    assert "400 samples, 2 folds" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--criteria", "luck"], "luck"),
        (["--criteria", "always"], "always"),
        (["--drop", "2"], "AccuracyDrop(0.02)"),
    ],
)
def test_impossible_questions_are_usage_errors(
    trained: Path, failing: Callable[..., str], arguments: list[str], message: str
) -> None:
    assert message in failing(failures.USAGE, "advise", trained, *arguments)


def test_what_is_no_recording_is_said(tmp_path: Path, failing: Callable[..., str]) -> None:
    assert "There is no recording" in failing(failures.FAILURE, "advise", tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("asked", "delta", "goal"),
    [
        ({}, None, AccuracyDrop(0.01, 0.05)),
        ({"agreement": 0.97}, 0.1, Agreement(0.97, 0.1)),
        ({"class_drop": 0.05}, None, ClassDrop(0.05, 0.05)),
        ({"decile_harm": 0.05}, None, WorstDecileHarm(0.05, 0.05)),
        ({"budget": 0.4}, None, MACBudget(share=0.4)),
        ({"budget": 0.4}, 0.05, MACBudget(share=0.4, delta=0.05)),
    ],
)
def test_options_name_a_goal(asked: dict[str, float], delta: float | None, goal: Goal) -> None:
    assert goal_for({**NOTHING, **asked}, delta, "exact", False, False) == goal


def test_options_of_two_goals_contradict_each_other() -> None:
    with pytest.raises(OfframpError, match="--agreement and --budget: give one of them"):
        goal_for({**NOTHING, "agreement": 0.9, "budget": 0.5}, None, "exact", False, False)
    with pytest.raises(OfframpError, match="--relative goes with --drop, not with --class-drop"):
        goal_for({**NOTHING, "class_drop": 0.1}, None, "exact", True, False)
    assert goal_for({**NOTHING, "drop": 0.02}, None, "exact", True, True) == AccuracyDrop(0.02, relative=True)


def test_a_run_is_calibrated_for_agreement(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", str(run), "--agreement", "0.6", "--empirical"]) == 0
    assert "EMPIRICAL" in capsys.readouterr().out
