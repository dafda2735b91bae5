from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tiny_problem import Clusters, TinyExits

from offramp.training import History

SCRIPT = Path(__file__).parent / "launch_two_processes.py"


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def launch(*arguments: str, fails: bool = False) -> str:
    # accelerate's own switch --cpu starts one process unless MPI is installed; this starts two by torch's means.
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--main_process_port", free_port()]
    done = subprocess.run(
        [*command, str(SCRIPT), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
    )
    assert (done.returncode != 0) == fails, done.stderr[-3000:]
    return done.stderr


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("launched")
    launch(str(folder))
    return folder


def results(folder: Path, rank: int) -> tuple[dict[str, torch.Tensor], History]:
    return torch.load(folder / f"{rank}.pt", weights_only=True), History.load(folder / f"{rank}.json")


@pytest.mark.slow
def test_both_processes_end_with_the_same_weights_and_history(launched: Path):
    (one, history), (two, other) = results(launched, 0), results(launched, 1)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert history == other


@pytest.mark.slow
def test_the_loss_falls_over_all_samples(launched: Path):
    _, history = results(launched, 0)
    assert {row.val.samples for row in history.rows if row.val} == {50}
    # Each process takes 3 batches of 16: the last, short one is filled up with repeated samples.
    assert {row.train.samples for row in history.rows} == {96}
    assert all(b < a for a, b in zip(history.rows[0].train.loss, history.rows[-1].train.loss, strict=True))


@pytest.mark.slow
def test_validation_over_processes_is_validation_by_one(launched: Path):
    weights, history = results(launched, 1)
    model = TinyExits().eval()
    model.load_state_dict(weights)
    data = Clusters(50, seed=2)
    with torch.no_grad():
        logits = model(data.inputs)
    best = history.rows[history.best_epoch - 1].val
    assert best.loss == pytest.approx([F.cross_entropy(z, data.labels).item() for z in logits], rel=1e-5)
    assert best.accuracy == pytest.approx([(z.argmax(1) == data.labels).double().mean().item() for z in logits])


@pytest.mark.slow
def test_an_interrupted_launched_run_resumes_to_the_same_bits(launched: Path, tmp_path: Path):
    assert "resume=True" in launch(str(tmp_path), "--interrupt", fails=True)
    assert History.load(tmp_path / "run" / "history.json").stopped == "interrupted"
    launch(str(tmp_path), "--resume")
    for rank in (0, 1):
        (whole, expected), (resumed, history) = results(launched, rank), results(tmp_path, rank)
        assert history == expected
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)
