"""Several processes run one loop: they agree, one writes, and every one of them returns the best model."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, os, sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from offramp.compression import EarlyExit, compress

torch.set_num_threads(1)
dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))


def train_epoch(controller, model, epoch, optimizer, lr_scheduler):
    controller.scheduler.step()
    with torch.no_grad():
        model[2].bias.fill_(epoch + 1)


def validate(model, epoch):
    # Only the main process knows the metric rightly; epoch 2 is the best.
    return [0.1, 0.2, 0.5, 0.3, 0.2][epoch] if rank == 0 else float(epoch)


outcome = compress(
    model,
    {"compression": {"algorithm": "magnitude_sparsity", "sparsity_init": 0.5}},
    loop=EarlyExit(maximal_total_epochs=4),
    baseline=0.9,
    example=torch.randn(2, 6),
    train_epoch=train_epoch,
    validate=validate,
    out=Path(sys.argv[1]),
    progress=False,
)
found = {"best": outcome.best_epoch, "bias": float(outcome.model[2].bias[0]), "epochs": outcome.exit_epoch}
Path(sys.argv[1], f"rank{rank}.json").write_text(json.dumps(found))
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_every_process_returns_the_best(tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    surroundings = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "loop.py"), str(tmp_path)], env={**surroundings, "RANK": str(rank)}
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    found = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert found == [{"best": 2, "bias": 2.0, "epochs": 4}] * 2
