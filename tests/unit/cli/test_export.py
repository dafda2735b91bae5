from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from offramp import Policy, exporters
from offramp.cli import main

MODEL = """
from torch import nn


def net():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
"""


@pytest.fixture
def calibrated(run: Path) -> Path:
    assert main(["calibrate", str(run), "--budget", "0.9"]) == 0
    return run


def test_a_run_becomes_a_bundle_that_decides_by_its_policy(
    calibrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    assert main(["export", str(calibrated), "--out", str(out), "--json", str(tmp_path / "report.json")]) == 0
    runtime = exporters.load_bundle(out)
    assert runtime.policy == Policy.load(calibrated / "policy.json")
    assert runtime(torch.zeros(3, 1, 28, 28)).logits.shape == (3, 10)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["subject"] == str(calibrated)
    assert "given inputs" in {entry["inputs"] for entry in report["parity"]}
    assert json.loads((out / "manifest.json").read_text())["class_names"] == list("0123456789")
    shown = capsys.readouterr().out
    assert "Decisions against the runtime's" in shown
    assert "segments: 8 rows that leave at exit 0 run 1 of" in " ".join(shown.split())


def test_an_export_is_not_replaced_by_accident(calibrated: Path, tmp_path: Path, failing: Callable[..., str]) -> None:
    out = tmp_path / "x"
    assert main(["export", str(calibrated), "--out", str(out), "--format", "pt2"]) == 0
    assert "holds an export already" in failing(1, "export", calibrated, "--out", out)
    assert main(["export", str(calibrated), "--out", str(out), "--overwrite"]) == 0
    exporters.load_bundle(out)


def test_a_model_without_training_is_exported_with_a_loud_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "own_export.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    command = ["export", "own_export:net", "--input", "4", "--at", "1", "3", "--thresholds", "-0.9", "-inf"]
    assert main([*command, "--criterion", "entropy", "--format", "onnx", "--out", "out"]) == 0
    assert (tmp_path / "out" / "model.onnx").exists()
    shown = " ".join(capsys.readouterr().out.split())
    assert "UNTRAINED" in shown
    assert "graph: 8 rows" in shown


def test_no_run_no_policy(run: Path, tmp_path: Path, failing: Callable[..., str]) -> None:
    assert "There is no policy at" in failing(1, "export", run, "--out", tmp_path / "x")
    shutil.rmtree(run / "model")
    assert "There is no" in failing(1, "export", tmp_path, "--out", tmp_path / "x")


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["lenet", "--format", "tflite"], "Allowed: bundle, pt2, onnx"),
        (["lenet", "--segments", "so"], "Allowed: pt2, onnx"),
        (["lenet", "--format", "pt2", "--segments", "onnx"], "--segments is for bundles"),
        (["lenet", "--thresholds", "0.5", "0.5", "0.5", "0.5", "0.5"], "give one number per early exit"),
        (["lenet", "--head", "hydra"], "pooled_linear"),
        (["lenet", "--criterion", "always"], "max_probability"),
        (["resnet", "--thresholds", "1"], "Closest"),
        (["torch.nn:Identity", "--input", "4"], "say where the exits are"),
        ([".", "--thresholds", "1", "--head", "sdn_pool"], "--thresholds, --head: a run has its exits"),
    ],
)
def test_what_cannot_be_ordered(failing: Callable[..., str], tmp_path: Path, tokens: list[str], message: str) -> None:
    assert message in failing(2, "export", *tokens, "--out", tmp_path / "x")
