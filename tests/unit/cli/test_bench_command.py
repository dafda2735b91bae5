from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from offramp.cli import main

SUITE = """
name = "tiny"
seeds = [0, 1]

[quick]
seeds = [0]
regimes = ["joint"]

[problems.pairs]
data = "digit-pairs"
train = 48
calibration = 40
test = 50
network = "resnet"
network_options = { blocks = [1], widths = [4], strides = [2] }
at = ["layer1"]
epochs = 1
batch_size = 16
fit = { lr = 0.05 }

[regimes.joint]
regime = "joint"

[regimes.mixed]
regime = "mixed"
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    pytest.importorskip("sklearn")
    path = tmp_path / "tiny.toml"
    path.write_text(SUITE)
    return path


def test_a_suite_runs_and_goes_on(suite, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out, result = tmp_path / "out", tmp_path / "result.json"
    command = ["bench", "regimes", str(suite), "--out", str(out), "--device", "cpu"]
    assert main([*command, "--quick", "--json", str(result)]) == 0
    shown = capsys.readouterr().out
    assert "1/2  pairs / joint / seed 0: exits" in shown
    assert "2/2  pairs / joint / seed 0 / equal time: exits" in shown
    assert "| joint |" in shown
    found = json.loads(result.read_text())
    for levels in (found["max_probability"], found["equal_time"]["max_probability"]):
        assert levels["pairs"]["joint"]["area"]["seeds"] == 1
    assert main([*command, "--shard", "2/2"]) == 0
    assert "4 runs, 1 of them done" in capsys.readouterr().out
    assert len(list(out.rglob("seed*.json"))) == 5
    assert (out / "figures" / "frontiers.png").exists()


def test_tables_alone_run_nothing(suite, tmp_path, failing):
    message = failing(1, "bench", "regimes", suite, "--tables", "--out", tmp_path / "out")
    assert "There is no finished run" in message


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (["--shard", "3/2"], "--shard 3/2: give I/N"),
        (["--seed", "-1"], "--seed -1: give a whole number"),
    ],
)
def test_impossible_options_are_answered(suite, tmp_path, failing, tokens, said):
    code = 2 if "--seed" in tokens else 1
    assert said in failing(code, "bench", "regimes", suite, "--out", tmp_path / "out", *tokens)


def test_a_missing_suite_is_answered(tmp_path, failing):
    assert "Those of the repository are" in failing(1, "bench", "regimes", tmp_path / "none.toml")


def test_help_does_not_wait_for_torch():
    code = (
        "import sys; from offramp.cli import main; main(['bench', 'regimes', '--help'])\n"
        "print('heavy:', *({'torch', 'matplotlib', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "--shard" in done.stdout
    assert done.stdout.splitlines()[-1] == "heavy:"
