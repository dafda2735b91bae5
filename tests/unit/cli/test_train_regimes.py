"""`offramp train --regime`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from offramp.cli import main
from offramp.cli.run_folder import RunFolder

TINY = ["train", "--arch", "lenet", "--data", "digits", "--lr", "0.05", "--validation", "200", "--calibration", "400"]


def test_a_regime_is_trained_and_remembered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    told = [*TINY, "--epochs", "3", "--regime", "mixed", "--regime-options", "first=1", "joint.lr_factor=0.1"]
    assert main([*told, "--out", str(tmp_path / "run"), "--json", str(tmp_path / "result.json")]) == 0
    run = RunFolder(tmp_path / "run")
    assert run.request.regime == ("mixed",)
    rows = json.loads(run.history.read_text())["rows"]
    assert [row["phase"] for row in rows] == ["backbone", "joint", "joint"]
    assert [row["lr"] for row in rows] == pytest.approx([0.05, 0.005, 0.0025])
    assert json.loads((tmp_path / "result.json").read_text())["final_exit"]["samples"] == 200
    assert "the backbone alone" in " ".join(capsys.readouterr().out.split())


def test_a_run_from_before_there_were_regimes_is_a_joint_one(trained: Path, tmp_path: Path) -> None:
    facts = json.loads((trained / "run.json").read_text())
    for name in ("regime", "regime_options"):
        del facts["request"][name]
    (tmp_path / "run.json").write_text(json.dumps(facts))
    assert RunFolder(tmp_path).request.regime == ("joint",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--regime", "mixd"], "no regime 'mixd'. Closest: 'mixed'"),
        (["--regime", "mixed", "--regime-options", "frist=2"], "no parameter 'frist'"),
    ],
)
def test_impossible_regimes_are_told_before_anything_is_written(
    failing: Callable[..., str], tmp_path: Path, words: list[str], message: str
) -> None:
    assert message in failing(1, *TINY, *words, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()
