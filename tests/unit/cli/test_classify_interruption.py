from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from offramp.cli import main
from offramp.cli.steps.classification.folder import ClassifyFolder, read_weights
from offramp.data import ImageData, write_cifar_batches
from offramp.training import folder as training_folder

COMMAND = (
    "--arch=resnet20_cifar_earlyexit --epochs=3 -b 16 --lr=0.05 --earlyexit_thresholds 1.3 --earlyexit_lossweights 0.4 "
    "-p 1 --cpu --seed 5"
)


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (100, 3, 32, 32), generator=draw, dtype=torch.uint8)
    data = ImageData("noise", images, torch.arange(100) % 5, tuple("abcde"), "made up")
    folder = tmp_path_factory.mktemp("cifar")
    write_cifar_batches(data, data, folder)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(cifar: Path, tmp_path_factory: pytest.TempPathFactory) -> ClassifyFolder:
    out = tmp_path_factory.mktemp("out")
    assert main(["classify", *COMMAND.split(), "-o", str(out), str(cifar)]) == 0
    (folder,) = out.iterdir()
    return ClassifyFolder(folder)


def assert_same(one: ClassifyFolder, other: ClassifyFolder) -> None:
    for file in ("best", "checkpoint"):
        weights = [read_weights(getattr(run, file)) for run in (one, other)]
        assert weights[0].keys() == weights[1].keys()
        assert all(weights[0][name].equal(weights[1][name]) for name in weights[0]), file
    assert one.epochs_json.read_text() == other.epochs_json.read_text()


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_run_killed_in_the_middle_of_an_epoch_ends_with_the_same_bits(
    cifar: Path, uninterrupted: ClassifyFolder, tmp_path: Path
) -> None:
    tokens = [sys.executable, "-m", "offramp", "classify", *COMMAND.split(), "-o", str(tmp_path), str(cifar)]
    process = subprocess.Popen(
        tokens, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        folder = _when_in(tmp_path, "Epoch: [1][    2/", process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not folder.results.exists()
    assert main(["classify", "--resume-from", str(folder.path), "--cpu"]) == 0
    assert "Continuing after epoch 0" in folder.log.read_text()
    assert_same(folder, uninterrupted)


def _when_in(out: Path, line: str, process: subprocess.Popen[bytes]) -> ClassifyFolder:
    """The run's folder, as soon as its log has the line."""
    for _ in range(1500):
        found = [path for path in out.iterdir() if (path / "log.txt").exists()]
        if found and line in (found[0] / "log.txt").read_text():
            return ClassifyFolder(found[0])
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.1)
    raise AssertionError(f"{line!r} did not come")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The kernel refuses to write more than so many bytes to a file, as a full disk would."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_without_room_for_a_checkpoint_keeps_the_last_whole_one(
    cifar: Path, uninterrupted: ClassifyFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The weights are 1.2 MB; with the optimizer's momentum, which there is after the first step, twice that.
    with files_of_at_most(2_000_000):
        assert main(["classify", *COMMAND.split(), "-o", str(tmp_path), str(cifar)]) == 1
    (path,) = tmp_path.iterdir()
    folder = ClassifyFolder(path)
    said = " ".join(capsys.readouterr().err.split())
    assert "File too large" in said
    assert f"--resume-from {path}" in said
    assert torch.load(folder.checkpoint, weights_only=True)["state"]["rows"] == []
    assert not list(path.rglob("*.tmp"))
    assert main(["classify", "--resume-from", str(path), "--cpu"]) == 0
    assert_same(folder, uninterrupted)


def test_a_disk_that_fills_up_later_keeps_the_epochs_before(
    cifar: Path,
    uninterrupted: ClassifyFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real, calls = training_folder.write_checkpoint, []

    def filling(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 3:  # behind the second epoch, as there is one before the first
            raise OSError(28, "No space left on device")
        real(*args)

    monkeypatch.setattr(training_folder, "write_checkpoint", filling)
    assert main(["classify", *COMMAND.split(), "-o", str(tmp_path), str(cifar)]) == 1
    assert "No space left on device" in capsys.readouterr().err
    (path,) = tmp_path.iterdir()
    folder = ClassifyFolder(path)
    assert len(torch.load(folder.checkpoint, weights_only=True)["state"]["rows"]) == 1
    assert main(["classify", "--resume-from", str(path), "--cpu"]) == 0
    assert_same(folder, uninterrupted)
