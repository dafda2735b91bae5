from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from offramp.cli import main

QUICK = ["--rounds", "6", "--samples", "8"]


def judged(tmp_path: Path, *tokens: object) -> dict[str, Any]:
    path = tmp_path / "verdict.json"
    assert main(["verdict", *map(str, tokens), *QUICK, "--json", str(path)]) == 0
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_a_run_is_judged_on_its_validation_split(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = (finished / "results.json").read_bytes()
    found = judged(tmp_path, finished, "--batch-sizes", 1, 300)
    assert set(found["answer"]) == {"1", "300"}
    assert set(found["answer"].values()) <= {"pays", "does not pay", "unresolved"}
    assert (found["split"], found["samples"], found["labelled"]) == ("validation", 200, True)
    assert [point["conditions"]["distinct"] for point in found["points"]] == [8, 200]
    assert {"created", "commit", "versions", "machine"} <= set(found)
    assert (finished / "results.json").read_bytes() == results
    shown = " ".join(capsys.readouterr().out.split())
    assert "Do exits pay? lenet on digits" in shown
    assert "exit 0 alone" in shown
    assert all(" ".join(sentence.split()) in shown for sentence in found["sentences"])


def test_a_model_that_was_never_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = judged(tmp_path, "lenet", "--at", "conv1", "--rates", "0.75", "--batch-sizes", 4, "--input", "1,28,28")
    assert found["cuts"] == ["conv1"]
    assert found["points"][0]["shares"] == [0.75, 0.25]
    assert found["labelled"] is False
    assert "Nothing was trained and no data was used" in found["notice"]
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "Nothing was trained and no data was used" in shown
    assert "75.0 %, 25.0 %" in shown


def test_half_leave_at_the_zoo_s_own_exits_by_default(tmp_path: Path) -> None:
    found = judged(tmp_path, "lenet", "--batch-sizes", 8)
    assert found["points"][0]["shares"] == [0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["lenet", "--batch-sizes", "0"], "each a whole number of at least 1"),
        (["lenet", "--rounds", "0"], "at least 6 rounds"),
        (["lenet", "--samples", "0"], "at least 1 sample"),
        (["lenet", "--rates", "2"], "one share between 0 and 1"),
        (["lenet", "--backend", "onx"], "--backend onx: there is none of this name. Allowed: eager"),
        (["lenet", "--head", "big"], "--head big"),
        (["lenet", "--input", "a"], "--input a"),
        (["lenett"], "lenett"),
    ],
)
def test_impossible_options(failing: Callable[..., str], tokens: list[str], message: str) -> None:
    assert message in failing(2, "verdict", *tokens)


@pytest.mark.parametrize("at", [[], ["--at", "auto:1"]])
def test_for_a_model_of_ones_own_places_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: list[str]
) -> None:
    (tmp_path / "own_plan.py").write_text(
        "from torch import nn\nnet = nn.Sequential(*[nn.Linear(4, 4) for _ in range(6)], nn.Linear(4, 3))\n"
    )
    monkeypatch.chdir(tmp_path)
    found = judged(tmp_path, "own_plan:net", "--input", 4, "--rates", 0.25, *at, "--batch-sizes", 8)
    assert len(found["cuts"]) == 1
    assert found["points"][0]["shares"] == [0.25, 0.75]


def test_a_run_has_its_own_exits(failing: Callable[..., str], trained: Path) -> None:
    assert "--rates: a run has its exits" in failing(2, "verdict", trained, "--rates", "0.5")


def test_a_run_without_a_policy(failing: Callable[..., str], trained: Path) -> None:
    assert "There is no policy at" in failing(1, "verdict", trained)


def test_a_folder_that_is_no_run(failing: Callable[..., str], tmp_path: Path) -> None:
    assert "Train one with" in failing(1, "verdict", tmp_path)
