"""A loop whose process is killed by the system goes on in another one, and ends with the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from launch_killed_loop import run

from offramp.compression.running.checkpoint import BEST

SCRIPT = Path(__file__).parent / "launch_killed_loop.py"


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["early_exit", "rate_search"])
def test_a_killed_process_is_continued_to_the_same_bits(tmp_path: Path, loop: str) -> None:
    whole = run(tmp_path / "whole", loop)
    assert whole.exit_epoch >= 3
    command = [sys.executable, str(SCRIPT), str(tmp_path / "killed"), loop, "3"]
    killed = subprocess.run(
        command, check=False, capture_output=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    torch.manual_seed(99)
    resumed = run(tmp_path / "killed", loop, resume=True)
    assert resumed.history == whole.history
    assert resumed.statistics == whole.statistics
    assert (resumed.stopped, resumed.best_epoch, resumed.exit_epoch) == (
        whole.stopped,
        whole.best_epoch,
        whole.exit_epoch,
    )
    expected = whole.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.model.state_dict().items())
    files = [torch.load(tmp_path / kind / BEST, weights_only=True)["state_dict"] for kind in ("whole", "killed")]
    assert all(torch.equal(value, files[0][name]) for name, value in files[1].items())
