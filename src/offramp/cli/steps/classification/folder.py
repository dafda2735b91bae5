"""The folder of a run, its text log, and the files that hold weights."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy
import safetensors.torch
import torch
from rich.markup import escape
from torch import Tensor

from offramp.cli.session import Session
from offramp.documents import DocumentKind
from offramp.errors import FileFormatError, TrainingError
from offramp.training.checkpoint import FILE_NAME, save_in_one_step

RUN = DocumentKind("offramp.classify", 1, "description of a run of `offramp classify`", "Begin a new run.")
UNNAMED = "offramp"
SCALAR: Any = numpy.float64(0).__reduce__()[0]
HARMLESS: list[Any] = [
    torch.optim.SGD,
    torch.optim.Adam,
    numpy.dtype,
    type(numpy.dtype("float64")),
    SCALAR,
    (SCALAR, "numpy.core.multiarray.scalar"),
]
"""What Distiller's checkpoints hold besides weights: the optimizer's class, and accuracies as NumPy has numbers."""
WRAPPINGS = ("state_dict", "model")
"""Keys under which checkpoints hold weights: Distiller's and ours, then those of `fit`."""


class ClassifyFolder:
    """Paths of one run.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.description = path / "run.json"
        self.log = path / "log.txt"
        self.training = path / "training"
        self.checkpoint = self.training / FILE_NAME
        self.best = path / "best.pt"
        self.epochs_csv, self.epochs_json = path / "epochs.csv", path / "epochs.json"
        self.tensorboard = path / "tensorboard"
        self.policy = path / "policy.json"
        self.results = path / "results.json"

    @classmethod
    def fresh(cls, out: Path, name: str | None) -> ClassifyFolder:
        """A new folder `OUT/NAME___YYYY.MM.DD-HHMMSS`; a run that begins in the same second gets another one.

        Raises:
            TrainingError: it cannot be made.
        """
        stem = f"{name or UNNAMED}___{datetime.now():%Y.%m.%d-%H%M%S}"
        try:
            for suffix in ("", *(f"-{k}" for k in range(2, 100))):
                path = out / f"{stem}{suffix}"
                if not path.exists():
                    path.mkdir(parents=True)
                    return cls(path)
        except OSError as error:
            raise TrainingError(f"--out-dir {out} cannot be written ({error}). Choose another folder.") from error
        raise TrainingError(f"--out-dir {out} has a hundred runs that began in this second. Try again.")

    @classmethod
    def of(cls, given: Path) -> ClassifyFolder:
        """The run that a path belongs to: its folder, or a file in it.

        Raises:
            FileFormatError: it belongs to none.
        """
        for path in (given, *given.absolute().parents[:2]):
            if (path / "run.json").is_file():
                return cls(path)
        raise FileFormatError(
            f"--resume-from {given}: there is no run. Give a folder that `offramp classify` wrote (it holds run.json), "
            "or a checkpoint in one; for weights alone there is --exp-load-weights-from."
        )

    def check_begun(self) -> None:
        """Makes sure that there is something to go on with.

        Raises:
            FileFormatError: the run never trained, or was stopped before its first checkpoint.
        """
        if not self.checkpoint.exists():
            raise FileFormatError(
                f"--resume-from {self.path}: there is no checkpoint, as the run did not train, or was stopped before. "
                "Begin a new one."
            )

    def facts(self) -> dict[str, Any]:
        """Contents of `run.json`.

        Raises:
            FileFormatError: it is damaged.
        """
        return RUN.read(self.description)

    def write(self, path: Path, data: Mapping[str, Any]) -> None:
        """Replaces one of the JSON files in one step."""
        replace_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")

    def keep_best(self, facts: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        """Replaces the best weights in one step; the file before stays whole until the new one is."""
        save_in_one_step(RUN.stamp({**facts, "state_dict": dict(weights)}), self.best)


class Journal:
    """What is said goes to the console and, from the moment there is a folder, into its log.

    Args:
        session: has the console.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._file: Path | None = None
        self._earlier: list[str] = []

    def open(self, file: Path) -> None:
        """Begins to write; what was said before comes first."""
        self._file = file
        self._append(self._earlier)

    def say(self, *lines: str) -> None:
        """One or several lines, without markup."""
        for line in lines:
            self.session.say(escape(line))
        if self._file is None:
            self._earlier += lines
        else:
            self._append(lines)

    def _append(self, lines: Iterable[str]) -> None:
        if self._file is not None:
            with self._file.open("a", encoding="utf8") as file:
                file.writelines(f"{datetime.now():%Y-%m-%d %H:%M:%S} - {line}\n" for line in lines)


def replace_text(path: Path, text: str) -> None:
    """Replaces a file in one step."""
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(text, encoding="utf8")
    beside.replace(path)


def read_weights(given: Path) -> dict[str, Tensor]:
    """The weights in a checkpoint: of a run, of Distiller, of a plain `state_dict`, or in safetensors.

    Args:
        given: the file, or a run's folder, whose best weights are meant.

    Raises:
        FileFormatError: it is missing, damaged, or holds something else.
    """
    path = ClassifyFolder.of(given).best if given.is_dir() else given
    if not path.is_file():
        raise FileFormatError(f"There are no weights at {path}. Give a checkpoint, or the folder of a run.")
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(path))
        with torch.serialization.safe_globals(HARMLESS):
            held = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FileFormatError(
            f"{path} holds more than weights, which would run code to be read. Where you trust it, save its weights "
            "alone: torch.save(torch.load(FILE, weights_only=False)['state_dict'], OTHER)."
        ) from error
    # What is no checkpoint at all can make the reader fail in any way.
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileFormatError(f"{path} is damaged or no checkpoint ({first}).") from error
    return _weights_in(held, path)


def _weights_in(held: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(held, Mapping):
        inner = next((held[key] for key in WRAPPINGS if isinstance(held.get(key), Mapping)), held)
        if inner and all(isinstance(value, Tensor) for value in inner.values()):
            return dict(inner)
    raise FileFormatError(f"{path} holds no weights: expected a state_dict, or an object with one as 'state_dict'.")
