"""The example that runs an export without offramp: in a process that can import neither it nor torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[3] / "examples" / "consumer" / "run_onnx.py"
BLOCKED = """
import runpy, sys

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("offramp", "torch"):
            raise ImportError(f"{name} is not to be imported")

sys.meta_path.insert(0, Wall())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-c", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def consumed(*arguments: object) -> str:
    done = run(BLOCKED, SCRIPT, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_short() -> None:
    assert len(SCRIPT.read_text(encoding="utf8").splitlines()) <= 40


def test_the_wall_holds() -> None:
    done = run(BLOCKED.replace("sys.argv = sys.argv[1:]", "import offramp"))
    assert done.returncode != 0
    assert "offramp is not to be imported" in done.stderr


def test_it_prints_what_the_runtime_decides(case: Any, written: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    inputs = case.batch(12, seed=9)
    np.savez(tmp_path / "inputs.npz", input=inputs.numpy())
    said = consumed(written("onnx").folder / "model.onnx", tmp_path / "inputs.npz").splitlines()
    expected = case.decide(inputs)
    names = ["cat", "dog", "owl", "elk"]
    rows = zip(expected.predictions.tolist(), expected.exits.tolist(), strict=True)
    assert said[:-1] == [f"row {i}: {names[c]}, exit {exit}" for i, (c, exit) in enumerate(rows)]
    saved = 1 - expected.mean_macs / case.model.cost.plain
    assert said[-1] == f"saved: {saved:.1%} of the multiply-accumulates"


def test_without_inputs_it_makes_noise(written: Callable[..., Any]) -> None:
    pytest.importorskip("onnxruntime")
    assert len(consumed(written("onnx").folder / "model.onnx").splitlines()) == 9
