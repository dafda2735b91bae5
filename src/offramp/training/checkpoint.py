"""The state of a run between two epochs, written so that a kill at any moment leaves a whole file."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from offramp.criteria import criterion_from_dict
from offramp.documents import DocumentKind
from offramp.errors import TrainingError
from offramp.training.guard import FinalExitCheck
from offramp.training.history import EpochRow, History, Stop

KIND = DocumentKind("offramp.checkpoint", 2, "training checkpoint", "Choose another out folder.")
FILE_NAME = "checkpoint.pt"

Weights = dict[str, Tensor]


def copied(module: nn.Module) -> Weights:
    """A copy of a module's state dict."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


@dataclass
class Best:
    """The best epoch of a phase so far.

    Attributes:
        epoch: counted from 1 through all phases.
        value: its monitored value, the mean validation accuracy of the exits that the phase watches.
        weights: the model's state dict after it.
        loss: that of the modules of the phase's loss.
    """

    epoch: int
    value: float
    weights: Weights
    loss: Weights = field(default_factory=dict)


@dataclass
class RunState:
    """Where a run stands; with the weights and the optimizer's state, all that a resume needs.

    Attributes:
        phase: index of the current phase.
        phase_epoch: epochs done in it.
        peaks: per exit the best validation accuracy in this phase; empty before its first epoch.
        waited: per exit the epochs since then.
        rows: one per finished epoch.
        best: of the current phase, None before its first epoch or without validation data.
        best_epoch: the one whose weights the model ends up with, see `History`.
        stopped: why it ended, "running" until then.
        alone: `[n]` bool, which validation samples the backbone alone has right; None where nobody asked.
        final_exit: see `History`.
        criterion: see `History`; as plain data.
    """

    phase: int = 0
    phase_epoch: int = 0
    peaks: list[float] = field(default_factory=list)
    waited: list[int] = field(default_factory=list)
    rows: list[EpochRow] = field(default_factory=list)
    best: Best | None = None
    best_epoch: int | None = None
    stopped: Stop = "running"
    alone: Tensor | None = None
    final_exit: FinalExitCheck | None = None
    criterion: dict[str, Any] | None = None

    def history(self) -> History:
        """The history so far."""
        seconds = sum(row.seconds for row in self.rows)
        criterion = None if self.criterion is None else criterion_from_dict(self.criterion)
        return History(tuple(self.rows), self.best_epoch, self.stopped, seconds, self.final_exit, criterion)

    def enter(
        self,
        row: EpochRow,
        epochs: int,
        patience: int | None,
        weights: Callable[[], tuple[Weights, Weights]],
        watched: Sequence[int] | None = None,
    ) -> Stop:
        """Counts a finished epoch.

        Args:
            row: the epoch.
            epochs: length of its phase.
            patience: epochs without improvement after which an exit is out of patience; one that improves later is
                back. The phase ends when all are out at once.
            weights: copies the state dicts of the model and of the loss; called when the epoch is the phase's best.
            watched: the exits that count, all by default.

        Returns:
            "epochs" or "patience" when the phase is over, else "running".
        """
        self.rows.append(row)
        self.phase_epoch += 1
        if row.val is not None:
            self._judge(row.epoch, [row.val.accuracy[k] for k in watched or range(len(row.val.accuracy))], weights)
        if self.phase_epoch >= epochs:
            return "epochs"
        out = patience is not None and bool(self.waited) and min(self.waited) >= patience
        return "patience" if out else "running"

    def _judge(self, epoch: int, accuracy: Sequence[float], weights: Callable[[], tuple[Weights, Weights]]) -> None:
        """Keeps each exit's own counter, and the weights of the epoch with the best mean."""
        peaks = self.peaks or [-1.0] * len(accuracy)
        waited = self.waited or [0] * len(accuracy)
        self.waited = [0 if now > peak else k + 1 for now, peak, k in zip(accuracy, peaks, waited, strict=True)]
        self.peaks = [max(pair) for pair in zip(accuracy, peaks, strict=True)]
        value = sum(accuracy) / len(accuracy)
        if self.best is None or value > self.best.value:
            self.best = Best(epoch, value, *weights())
            self.best_epoch = epoch

    def next_phase(self) -> None:
        """Starts counting anew for the phase that follows."""
        self.phase, self.phase_epoch, self.best = self.phase + 1, 0, None
        self.peaks, self.waited = [], []

    def to_dict(self) -> dict[str, Any]:
        """Plain data and tensors."""
        check = None if self.final_exit is None else self.final_exit.to_dict()
        shallow = {**self.__dict__, "rows": [asdict(row) for row in self.rows], "final_exit": check}
        return {**shallow, "best": None if self.best is None else dict(self.best.__dict__)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RunState:
        """Inverse of `to_dict`."""
        rows = [EpochRow.from_dict(row) for row in data["rows"]]
        best = None if data["best"] is None else Best(**data["best"])
        check = None if data["final_exit"] is None else FinalExitCheck.from_dict(data["final_exit"])
        return cls(**{**data, "rows": rows, "best": best, "final_exit": check})


@dataclass
class Checkpoint:
    """Contents of a checkpoint file.

    Attributes:
        fingerprint: what a run must share to continue from here, nested plain data.
        state: where the run stands.
        model: state dict of the model.
        optimizer: state dict of the optimizer.
        scaler: state dict of the fp16 gradient scaler, empty in other precisions.
        loss: state dict of the modules of the phase's loss, mostly empty.
        callbacks: states of the callbacks that have one, see `callbacks.states_of`.
    """

    fingerprint: dict[str, Any]
    state: RunState
    model: Weights
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    loss: dict[str, Any] = field(default_factory=dict)
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
    payload = KIND.stamp({**checkpoint.__dict__, "state": checkpoint.state.to_dict()})
    save_in_one_step(payload, folder / FILE_NAME)


def save_in_one_step(payload: Any, path: Path) -> None:
    """Replaces a file by what torch saves of `payload`; where that fails, the file stays as it was.

    Raises:
        OSError: it cannot be written, e.g. because the disk is full.
    """
    # Made in memory first: torch's own writer turns a full disk into a RuntimeError about positions.
    content = io.BytesIO()
    torch.save(payload, content)
    beside = path.with_suffix(".tmp")
    try:
        with beside.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            # Without this a power cut can leave the new name on an empty file.
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads what `write_checkpoint` wrote; runs no code from the file.

    Raises:
        FileFormatError: damaged, no checkpoint, or written by a newer version.
    """
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise KIND.damaged(path, error) from error
    fields = {name: value for name, value in KIND.check(payload, path).items() if name not in ("format", "version")}
    return Checkpoint(**{**fields, "state": RunState.from_dict(fields["state"])})


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
