"""Trains the tiny problem under `accelerate launch`, and leaves each process's weights and history in a folder.

Usage: ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes 2 launch_two_processes.py FOLDER [MODE]
where MODE is --interrupt or --resume.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from tiny_problem import Clusters, TinyExits, val_loader
from torch.utils.data import DataLoader

import offramp as ofr


class Interrupting(Clusters):
    """Is interrupted in the second epoch: each process takes 48 samples an epoch."""

    accesses = 0

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.accesses += 1
        if self.accesses > 70:
            raise KeyboardInterrupt
        return super().__getitem__(index)


def main(folder: Path, mode: str) -> None:
    torch.set_num_threads(1)
    # Processes start from different weights: the main one's must win.
    rank = int(os.environ.get("RANK", "0"))
    model = TinyExits(seed=rank)
    # 90 samples in 6 batches (the last of 10), 50 in 4 (the last of 2): nothing divides evenly.
    kind = Interrupting if mode == "--interrupt" else Clusters
    history = ofr.fit(
        model,
        DataLoader(kind(90, seed=1, noise=0.3), batch_size=16, shuffle=True),
        val=val_loader(samples=50),
        epochs=4,
        device="cpu",
        out=folder / "run",
        resume=mode == "--resume",
        progress=False,
    )
    torch.save(model.state_dict(), folder / f"{rank}.pt")
    (folder / f"{rank}.json").write_text(history.to_json())


if __name__ == "__main__":
    main(Path(sys.argv[1]), mode=sys.argv[2] if len(sys.argv) > 2 else "")
