from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from offramp.cli import main

TINY_RUN = ["train", "--arch", "lenet", "--data", "digits", "--epochs", "1", "--lr", "0.05"]
TINY_SIZES = ["--validation", "200", "--calibration", "400"]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a tiny network, trained for one epoch. Shared: copy it before changing anything."""
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("runs") / "trained"
    assert main([*TINY_RUN, *TINY_SIZES, "--batch-size", "32", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A trained run of one's own."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture(scope="session")
def finished(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that went all the way. Shared: copy it before changing anything."""
    pytest.importorskip("matplotlib")
    folder = Path(shutil.copytree(trained, tmp_path_factory.mktemp("runs") / "finished"))
    for command in (["calibrate", str(folder), "--budget", "0.9"], ["evaluate", str(folder)], ["report", str(folder)]):
        assert main(command) == 0
    return folder


@pytest.fixture
def failing(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command line that must end with a code, and gives its one-line message."""

    def check(code: int, *tokens: object) -> str:
        assert main([str(token) for token in tokens]) == code
        message = capsys.readouterr().err
        assert "Traceback" not in message
        return " ".join(message.split())

    return check
