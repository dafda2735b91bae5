"""What a training run was like: losses and accuracies of every exit, epoch by epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from offramp.criteria import Criterion, criterion_from_dict
from offramp.documents import DocumentKind
from offramp.errors import FileFormatError
from offramp.training.guard import FinalExitCheck

KIND = DocumentKind("offramp.history", 1, "training history", "fit(out=...) writes one.")

Stop = Literal["running", "epochs", "patience", "interrupted"]


@dataclass(frozen=True)
class Scores:
    """Sample-weighted means over one pass through a data set.

    Attributes:
        loss: per exit, earliest first; the phase's loss of each exit in training, cross-entropy in nats in validation.
        accuracy: per exit, share in [0, 1] of **all** samples that it classifies rightly (nobody leaves early).
        samples: how many were counted.
    """

    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    samples: int

    @property
    def mean_accuracy(self) -> float:
        """Mean of the exits' accuracies."""
        return sum(self.accuracy) / len(self.accuracy)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Scores:
        """Inverse of `dataclasses.asdict`."""
        return cls(tuple(data["loss"]), tuple(data["accuracy"]), int(data["samples"]))


@dataclass(frozen=True)
class EpochRow:
    """One epoch; two rows are equal when all but their times are.

    Attributes:
        epoch: counted from 1 through all phases.
        phase: name of the phase it belongs to.
        lr: learning rate at its first step.
        train: in training mode, over the epoch's samples while the weights change.
        val: in evaluation mode after the epoch; None where there is no validation data.
        seconds: wall time, validation included.
    """

    epoch: int
    phase: str
    lr: float
    train: Scores
    val: Scores | None
    seconds: float = field(compare=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EpochRow:
        """Inverse of `dataclasses.asdict`."""
        val = data["val"]
        return cls(
            epoch=int(data["epoch"]),
            phase=str(data["phase"]),
            lr=float(data["lr"]),
            train=Scores.from_dict(data["train"]),
            val=None if val is None else Scores.from_dict(val),
            seconds=float(data["seconds"]),
        )


@dataclass(frozen=True)
class History:
    """Outcome of `fit`; two histories are equal when all but their times are.

    Attributes:
        rows: one per epoch, in order.
        best_epoch: epoch (from 1) whose weights the model has now: the best of the last phase, chosen by the mean
            validation accuracy of the exits that the phase watches, the earliest among equals; None without
            validation data: the model has the last weights.
        stopped: "epochs" (all were run), "patience" (no improvement for that long), "interrupted" (Ctrl-C; only
            in the file on disk, because the call itself raises), "running" (the same, or killed since).
        seconds: wall time of all epochs, those before a resume included.
        final_exit: the final exit beside the backbone alone, where a phase trained the backbone alone, or the regime
            began with a trained one, and there is validation data.
        criterion: that answers as the exits were trained to; None where their own logits answer, and any will do.
    """

    rows: tuple[EpochRow, ...]
    best_epoch: int | None
    stopped: Stop
    seconds: float = field(compare=False)
    final_exit: FinalExitCheck | None = None
    criterion: Criterion | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data with format and version."""
        criterion = None if self.criterion is None else self.criterion.to_dict()
        return KIND.stamp({**asdict(replace(self, criterion=None)), "criterion": criterion})

    @classmethod
    def from_dict(cls, data: Any, where: str | Path = "What was given") -> History:
        """Inverse of `to_dict`; `where` is the file it is from, for errors.

        Raises:
            FileFormatError: not a history, damaged, or written by a newer version.
        """
        data = KIND.check(data, where)
        if data.get("stopped") not in get_args(Stop):
            raise FileFormatError(f"{where} has stopped={data.get('stopped')!r}; known: {', '.join(get_args(Stop))}.")
        try:
            rows = tuple(EpochRow.from_dict(row) for row in data["rows"])
            check = data.get("final_exit")
            final_exit = None if check is None else FinalExitCheck.from_dict(check)
            given = data.get("criterion")
            criterion = None if given is None else criterion_from_dict(given)
            return cls(rows, data["best_epoch"], data["stopped"], float(data["seconds"]), final_exit, criterion)
        except (ValueError, KeyError, TypeError) as error:
            raise KIND.damaged(where, error) from error

    def to_json(self) -> str:
        """The history as a JSON text."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def load(cls, path: str | Path) -> History:
        """Reads the `history.json` that `fit(out=...)` writes.

        Raises:
            FileFormatError: the file is missing, no JSON, or no history.
        """
        return cls.from_dict(KIND.read(path), path)
