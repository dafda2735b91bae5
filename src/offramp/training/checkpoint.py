"""The state of a run between two epochs, written so that a kill at any moment leaves a whole file."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from offramp.errors import FileFormatError, TrainingError
from offramp.training.history import EpochRow, History, Stop

FORMAT = "offramp.checkpoint"
VERSION = 1
FILE_NAME = "checkpoint.pt"

Weights = dict[str, Tensor]


@dataclass
class Best:
    """The best epoch of a phase so far.

    Attributes:
        epoch: counted from 1 through all phases.
        value: its monitored value, the mean of the exits' validation accuracies.
        weights: the model's state dict after it.
    """

    epoch: int
    value: float
    weights: Weights


@dataclass
class RunState:
    """Where a run stands; with the weights and the optimizer's state, all that a resume needs.

    Attributes:
        phase: index of the current phase.
        phase_epoch: epochs done in it.
        waited: epochs since the phase's best one.
        rows: one per finished epoch.
        best: of the current phase, None before its first epoch or without validation data.
        best_epoch: the one whose weights the model ends up with, see `History`.
        stopped: why it ended, "running" until then.
    """

    phase: int = 0
    phase_epoch: int = 0
    waited: int = 0
    rows: list[EpochRow] = field(default_factory=list)
    best: Best | None = None
    best_epoch: int | None = None
    stopped: Stop = "running"

    def history(self) -> History:
        """The history so far."""
        return History(tuple(self.rows), self.best_epoch, self.stopped, sum(row.seconds for row in self.rows))

    def enter(self, row: EpochRow, epochs: int, patience: int | None, weights: Callable[[], Weights]) -> Stop:
        """Counts a finished epoch.

        Args:
            row: the epoch.
            epochs: length of its phase.
            patience: epochs without improvement that end a phase.
            weights: copies the model's state dict; called when the epoch is the best of its phase.

        Returns:
            "epochs" or "patience" when the phase is over, else "running".
        """
        self.rows.append(row)
        self.phase_epoch += 1
        if row.val is not None:
            value = row.val.mean_accuracy
            better = self.best is None or value > self.best.value
            self.waited = 0 if better else self.waited + 1
            if better:
                self.best = Best(row.epoch, value, weights())
                self.best_epoch = row.epoch
        if self.phase_epoch >= epochs:
            return "epochs"
        return "patience" if patience is not None and self.waited >= patience else "running"

    def next_phase(self) -> None:
        """Starts counting anew for the phase that follows."""
        self.phase, self.phase_epoch, self.waited, self.best = self.phase + 1, 0, 0, None

    def to_dict(self) -> dict[str, Any]:
        """Plain data and tensors."""
        shallow = {**self.__dict__, "rows": [asdict(row) for row in self.rows]}
        return {**shallow, "best": None if self.best is None else dict(self.best.__dict__)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RunState:
        """Inverse of `to_dict`."""
        rows = [EpochRow.from_dict(row) for row in data["rows"]]
        best = None if data["best"] is None else Best(**data["best"])
        return cls(**{**data, "rows": rows, "best": best})


@dataclass
class Checkpoint:
    """Contents of a checkpoint file.

    Attributes:
        fingerprint: what a run must share to continue from here, nested plain data.
        state: where the run stands.
        model: state dict of the model.
        optimizer: state dict of the optimizer.
        scaler: state dict of the fp16 gradient scaler, empty in other precisions.
        callbacks: states of the callbacks that have one, see `callbacks.states_of`.
    """

    fingerprint: dict[str, Any]
    state: RunState
    model: Weights
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    callbacks: dict[str, dict[str, Any]] = field(default_factory=dict)

    def check_fits(self, fingerprint: dict[str, Any], path: Path) -> None:
        """Compares with the run that wants to continue.

        Raises:
            TrainingError: names up to five differences.
        """
        found = list(differences(self.fingerprint, fingerprint))
        if found:
            more = f" and {len(found) - 5} more" if len(found) > 5 else ""
            raise TrainingError(
                f"The checkpoint {path} belongs to another run: {'; '.join(found[:5])}{more}. Resume with the same "
                "model and options, or choose another out folder."
            )


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replaces the folder's checkpoint in one step: a reader sees the old or the new file, never a part."""
    payload = {**checkpoint.__dict__, "format": FORMAT, "version": VERSION, "state": checkpoint.state.to_dict()}
    path = folder / FILE_NAME
    beside = path.with_suffix(".tmp")
    with beside.open("wb") as file:
        torch.save(payload, file)
        file.flush()
        # Without this a power cut can leave the new name on an empty file.
        os.fsync(file.fileno())
    beside.replace(path)


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads what `write_checkpoint` wrote; runs no code from the file.

    Raises:
        FileFormatError: damaged, no checkpoint, or written by a newer version.
    """
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileFormatError(f"{path} is damaged or no checkpoint ({first}). Choose another out folder.") from error
    if not isinstance(payload, dict) or (payload.pop("format", None), payload.pop("version", None)) != (
        FORMAT,
        VERSION,
    ):
        raise FileFormatError(f"{path} is no offramp checkpoint of version {VERSION}. Choose another out folder.")
    return Checkpoint(**{**payload, "state": RunState.from_dict(payload["state"])})


def differences(saved: Any, now: Any, path: str = "") -> Iterator[str]:
    """Phrases naming where two nested plain values differ, e.g. "seed is 0 in the checkpoint and 1 now"."""
    if isinstance(saved, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*saved, *now]):
            yield from differences(saved.get(key, "absent"), now.get(key, "absent"), f"{path}.{key}".lstrip("."))
    elif _listed(saved) != _listed(now):
        yield f"{path} is {_listed(saved)} in the checkpoint and {_listed(now)} now"


def _listed(value: Any) -> Any:
    # A tuple that went through JSON or a user's hands is still the same setting.
    return [_listed(v) for v in value] if isinstance(value, list | tuple) else value
