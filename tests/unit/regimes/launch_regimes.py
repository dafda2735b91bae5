"""Trains the tiny image model under every regime in two processes, and leaves each process's weights in a folder.

Usage: ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes 2 launch_regimes.py FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from tiny_models import image_model, train_loader, val_loader

import offramp as ofr
from offramp.regimes import REGIMES


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    rank = int(os.environ.get("RANK", "0"))
    for name in REGIMES:
        # Processes start from different weights: the main one's must win.
        model = image_model(seed=rank)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        arguments = {"epochs": 4, "lr": 0.05, "device": "cpu", "progress": False}
        history = ofr.fit(model, train_loader(), val_loader(), REGIMES[name](), **arguments)  # type: ignore[arg-type]
        torch.save({"before": before, "after": model.state_dict()}, folder / f"{name}-{rank}.pt")
        (folder / f"{name}-{rank}.json").write_text(history.to_json())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
