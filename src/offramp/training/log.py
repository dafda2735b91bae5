"""What a run leaves in its folder for people: `history.csv`, `history.json` and TensorBoard event files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from offramp.training.history import EpochRow, History, Scores


class TrainingLog:
    """Writes the history after every epoch; each file is replaced in one step.

    Args:
        folder: exists and is writable.
        first_epoch: epoch (from 1) that this run starts with; TensorBoard drops what an interrupted run logged later.
    """

    def __init__(self, folder: Path, first_epoch: int) -> None:
        self.folder = folder
        self._board = _board(folder, first_epoch)

    def write(self, history: History) -> None:
        """Brings the CSV and JSON files up to date."""
        _replace(self.folder / "history.csv", csv_text(history))
        _replace(self.folder / "history.json", history.to_json())

    def plot(self, row: EpochRow) -> None:
        """Adds an epoch to TensorBoard, where that is installed."""
        if self._board is None:
            return
        for name, value in scalars(row):
            self._board.add_scalar(name, value, row.epoch)
        self._board.flush()

    def close(self) -> None:
        """Ends the event file."""
        if self._board is not None:
            self._board.close()


def csv_text(history: History) -> str:
    """One line per epoch; columns such as `loss/train/exit0`, those of `scalars`, after epoch, phase and seconds."""
    text = io.StringIO()
    lines = [
        {"epoch": row.epoch, "phase": row.phase, "seconds": round(row.seconds, 3), **dict(scalars(row))}
        for row in history.rows
    ]
    writer = csv.DictWriter(text, fieldnames=list(lines[0]) if lines else ["epoch"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def scalars(row: EpochRow) -> Iterator[tuple[str, float]]:
    """Names and values of an epoch's numbers: the learning rate, then losses and accuracies per split and exit."""
    yield "lr", row.lr
    yield from _split_scalars("train", row.train)
    if row.val is not None:
        yield from _split_scalars("val", row.val)


def _split_scalars(split: str, scores: Scores) -> Iterator[tuple[str, float]]:
    for quantity in ("loss", "accuracy"):
        for exit, value in enumerate(getattr(scores, quantity)):
            yield f"{quantity}/{split}/exit{exit}", value


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(text, encoding="utf8")
    beside.replace(path)


def _board(folder: Path, first_epoch: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=first_epoch)
