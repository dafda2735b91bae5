"""Compresses a small network into a folder; is killed, as by a power cut, in the middle of an epoch, if one is named.

Usage: python launch_killed_loop.py FOLDER early_exit|rate_search [EPOCH]
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from offramp.compression import EarlyExit, Outcome, RateSearch, Trainer, compress

ALGORITHMS = [
    {
        "algorithm": "magnitude_sparsity",
        "sparsity_init": 0.3,
        "params": {"sparsity_target": 0.6, "sparsity_target_epoch": 2},
    },
    {"algorithm": "quantization"},
]
LOOPS = {
    "early_exit": EarlyExit(maximal_total_epochs=4, maximal_absolute_accuracy_degradation=0.0),
    "rate_search": RateSearch(maximal_total_epochs=5, maximal_absolute_accuracy_degradation=0.05),
}


class Trapped:
    """Batches of a loader; the third batch of one pass kills the process.

    Args:
        loader: of batches.
        fatal: number of the pass, from 1; None for none.
    """

    def __init__(self, loader: DataLoader[tuple[Tensor, ...]], fatal: int | None) -> None:
        self.loader, self.fatal, self.passes = loader, fatal, 0

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        self.passes += 1
        for number, batch in enumerate(self.loader):
            if self.passes == self.fatal and number == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch


def run(folder: Path, loop: str, fatal: int | None = None, resume: bool = False) -> Outcome:
    """The loop, from the same network and data each time."""
    torch.manual_seed(0)
    images = torch.randn(256, 8)
    data = TensorDataset(images, (images[:, :2] > 0).long() @ torch.tensor([1, 2]))
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 4))
    trainer = Trainer(DataLoader(data, 32, shuffle=True), DataLoader(data, 256), lr=0.1)
    trapped = Trainer(Trapped(trainer.train_loader, fatal), trainer.val_loader, lr=0.1)  # type: ignore[arg-type]
    functions = {**trainer.functions, "train_epoch": trapped.train_epoch}
    return compress(
        model,
        {"compression": ALGORITHMS},
        loop=LOOPS[loop],
        baseline=0.95,
        out=folder,
        resume=resume,
        progress=False,
        **functions,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
