"""The state of a loop on disk: the last state, to go on from, and the best model, to come back to.

A kill at any moment leaves a pair that fits together: a new best model is first written beside the old one, and takes
its place once the last state, which names the best, is written.
"""

from __future__ import annotations

import copy
import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from offramp.compression.controller import Controller
from offramp.compression.running.processes import is_main
from offramp.documents import DocumentKind
from offramp.errors import CompressionError, FileFormatError

KIND = DocumentKind("offramp.compression.checkpoint", 1, "checkpoint of a compression", "Choose another folder.")
LAST, BEST = "acc_aware_checkpoint_last.pth", "acc_aware_checkpoint_best.pth"


@dataclass(frozen=True)
class Snapshot:
    """A compressed model at one moment.

    Attributes:
        number: of the evaluation it was made after.
        model: its state dict.
        compression: the controller's.
    """

    number: int
    model: Mapping[str, Any]
    compression: Mapping[str, Any]

    @classmethod
    def take(cls, number: int, controller: Controller) -> Snapshot:
        """Copies what the controller's model is now."""
        model = {
            name: value.detach().cpu().clone() if isinstance(value, torch.Tensor) else value
            for name, value in controller.model.state_dict().items()
        }
        return cls(number, model, copy.deepcopy(controller.state_dict()))

    def put_back(self, controller: Controller) -> None:
        """Makes the controller and its model what they were."""
        controller.load_state_dict(copy.deepcopy(dict(self.compression)))
        controller.model.load_state_dict(dict(self.model))


class Checkpoints:
    """The files of one loop.

    Args:
        folder: is made if needed; None keeps nothing on disk.
        last: whether the last state is written too, without which nothing can be resumed.

    Raises:
        CompressionError: the folder cannot be written.
    """

    def __init__(self, folder: Path | None, last: bool = True) -> None:
        self.folder = folder
        self._last = last
        if folder is not None and is_main():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / ".probe").touch()
                (folder / ".probe").unlink()
            except OSError as error:
                raise CompressionError(f"{folder} cannot be written ({error}). Choose another folder.") from error

    @property
    def best_path(self) -> Path | None:
        """File of the best model."""
        return None if self.folder is None else self.folder / BEST

    def write(self, state: Mapping[str, Any], best: Snapshot | None) -> None:
        """Saves where the loop is.

        Args:
            state: all that a resume needs, without the best model.
            best: where it has changed; None where it has not.
        """
        if self.folder is None or not is_main():
            return
        fresh = self.folder / f"{BEST}.new"
        if best is not None:
            _save({"number": best.number, "state_dict": best.model, "compression_state": best.compression}, fresh)
        if self._last:
            _save(state, self.folder / LAST)
        if best is not None:
            fresh.replace(self.folder / BEST)

    def read(self) -> dict[str, Any] | None:
        """The last state, None where there is none.

        Raises:
            FileFormatError: it is damaged.
        """
        if self.folder is None or not (self.folder / LAST).exists():
            return None
        return _load(self.folder / LAST)

    def read_best(self, number: int) -> Snapshot:
        """The best model, which the last state says is that of evaluation `number`.

        Raises:
            FileFormatError: it is not there, or damaged.
        """
        folder = self.folder or Path()
        for path in (folder / f"{BEST}.new", folder / BEST):
            if path.exists() and (found := _load(path)).get("number") == number:
                path.replace(folder / BEST)
                return Snapshot(number, found["state_dict"], found["compression_state"])
        raise FileFormatError(f"The best model, of evaluation {number}, is not in {folder}. Choose another folder.")


def _save(payload: Mapping[str, Any], path: Path) -> None:
    beside = path.with_name(path.name + ".part")
    with beside.open("wb") as file:
        torch.save(KIND.stamp(payload), file)
        file.flush()
        # Without this a power cut can leave the new name on an empty file.
        os.fsync(file.fileno())
    beside.replace(path)


def _load(path: Path) -> dict[str, Any]:
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise KIND.damaged(path, error) from error
    return KIND.check(payload, path)


def load_model(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Loads the weights of a checkpoint into a compressed model.

    Raises:
        FileFormatError: the file is damaged or no checkpoint.
    """
    model.load_state_dict(_load(Path(path))["state_dict"])
