"""The folder of a run: taken over or refused at the start, brought up to date after every epoch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from offramp.errors import TrainingError
from offramp.training.checkpoint import FILE_NAME, Checkpoint, read_checkpoint, write_checkpoint
from offramp.training.history import History, Stop
from offramp.training.log import TrainingLog


class RunFolder:
    """Checkpoint and logs of one run.

    Args:
        path: need not exist yet.
        resume: whether a run that is found may be continued.
    """

    def __init__(self, path: Path, resume: bool) -> None:
        self.path = path
        self.resume = resume
        self._log: TrainingLog | None = None

    def find(self, fingerprint: dict[str, Any]) -> Checkpoint | None:
        """The checkpoint to continue from, None where there is none yet; changes nothing.

        Raises:
            TrainingError: there is one and `resume` is False, or it belongs to another run.
            FileFormatError: it is damaged.
        """
        file = self.path / FILE_NAME
        if not file.exists():
            return None
        if not self.resume:
            raise TrainingError(
                f"{file} holds a run already; nothing was changed. Continue it with resume=True, or choose another out "
                "folder."
            )
        checkpoint = read_checkpoint(file)
        checkpoint.check_fits(fingerprint, file)
        return checkpoint

    def begin(self, checkpoint: Checkpoint) -> None:
        """Writes the state before the first epoch of this call: a run killed in it resumes from the same weights.

        Raises:
            TrainingError: the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_checkpoint(self.path, checkpoint)
            self._log = TrainingLog(self.path, first_epoch=len(checkpoint.state.rows) + 1)
            self._log.write(checkpoint.state.history())
        except OSError as error:
            raise TrainingError(
                f"fit(out={str(self.path)!r}) cannot be written ({error}). Choose another folder."
            ) from error

    def keep(self, checkpoint: Checkpoint) -> None:
        """Saves a finished epoch; the checkpoint comes first, because the logs can be made again from it."""
        write_checkpoint(self.path, checkpoint)
        if self._log is not None:
            self._log.write(checkpoint.state.history())
            self._log.plot(checkpoint.state.rows[-1])

    def mark(self, history: History, stopped: Stop) -> None:
        """Notes in the logs, not in the checkpoint, why the run stopped."""
        if self._log is not None:
            self._log.write(replace(history, stopped=stopped))

    def close(self) -> None:
        """Ends the event file."""
        if self._log is not None:
            self._log.close()
