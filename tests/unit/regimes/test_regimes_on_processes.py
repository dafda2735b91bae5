from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from offramp.regimes import REGIMES
from offramp.training import History

SCRIPT = Path(__file__).parent / "launch_regimes.py"


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("regimes")
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    done = subprocess.run(
        [*command, "--main_process_port", free_port(), str(SCRIPT), str(folder)],
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def of_rank(folder: Path, name: str, rank: int) -> tuple[dict[str, dict[str, torch.Tensor]], History]:
    weights = torch.load(folder / f"{name}-{rank}.pt", weights_only=True)
    return weights, History.load(folder / f"{name}-{rank}.json")


@pytest.mark.slow
@pytest.mark.parametrize("name", list(REGIMES))
def test_two_processes_agree(launched: Path, name: str):
    (one, history), (two, other) = of_rank(launched, name, 0), of_rank(launched, name, 1)
    assert all(torch.equal(one["after"][key], two["after"][key]) for key in one["after"])
    assert history == other
    assert len(history.rows) == 4
    assert any(not torch.equal(one["before"][key], one["after"][key]) for key in one["before"])


@pytest.mark.slow
def test_the_backbone_alone_leaves_the_heads_of_the_main_process_alone(launched: Path):
    weights, _ = of_rank(launched, "backbone_alone", 1)
    main, _ = of_rank(launched, "backbone_alone", 0)
    heads = [key for key in weights["after"] if key.startswith("heads.")]
    assert all(torch.equal(weights["after"][key], main["before"][key]) for key in heads)
