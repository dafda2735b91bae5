"""What a loop of accuracy-aware training came to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from offramp.compression.controller import CompressionStatistics, Controller
from offramp.compression.loops import Stop
from offramp.compression.tolerance import Tolerance
from offramp.documents import DocumentKind
from offramp.errors import CompressionError

KIND = DocumentKind("offramp.compression", 1, "outcome of a compression", "Write one with `offramp compress`.")


@dataclass(frozen=True)
class Record:
    """One validation; two are equal when all but their times are.

    Attributes:
        epoch: epochs trained so far.
        metric: what the validation gave.
        budget: distance to the worst tolerable metric; negative where it does not hold.
        full: whether the model was fully compressed.
        nominal: rate asked for; None where nothing has a rate.
        achieved: rate measured; None likewise.
        loss: what the training function returned, None if nothing, or if nothing was trained.
        lr: learning rate of the optimizer's first group in the epoch; None where there is no optimizer.
        seconds: wall time, training and validation.
    """

    epoch: int
    metric: float
    budget: float
    full: bool
    nominal: float | None
    achieved: float | None
    loss: float | None
    lr: float | None
    seconds: float = field(compare=False)


@dataclass(frozen=True)
class LoopStatistics:
    """Figures of the model that a loop returns.

    Attributes:
        uncompressed_accuracy: metric of the model before it was compressed.
        compression_rate: rate achieved, measured on the returned model; 0 where nothing has a rate.
        compressed_accuracy: metric of the returned model.
        absolute_accuracy_degradation: how much worse, in units of the metric.
        relative_accuracy_degradation: the same in percent of the uncompressed metric.
        accuracy_budget: distance to the worst tolerable metric; negative where it does not hold.
        nominal_compression_rate: rate that was asked for; None where nothing has a rate.
    """

    uncompressed_accuracy: float
    compression_rate: float
    compressed_accuracy: float
    absolute_accuracy_degradation: float
    relative_accuracy_degradation: float
    accuracy_budget: float
    nominal_compression_rate: float | None

    @classmethod
    def of(cls, metric: float, tolerance: Tolerance, compression: CompressionStatistics) -> LoopStatistics:
        """For a model with this metric and this compression."""
        return cls(
            uncompressed_accuracy=tolerance.baseline,
            compression_rate=compression.achieved or 0.0,
            compressed_accuracy=metric,
            absolute_accuracy_degradation=tolerance.degradation(metric),
            relative_accuracy_degradation=tolerance.relative_degradation(metric),
            accuracy_budget=tolerance.budget(metric),
            nominal_compression_rate=compression.nominal,
        )

    def to_str(self) -> str:
        """A line per figure."""
        asked = "" if self.nominal_compression_rate is None else f" (asked for {self.nominal_compression_rate:.4f})"
        return "\n".join(
            [
                f"Uncompressed model accuracy: {self.uncompressed_accuracy:.4f}",
                f"Compressed model accuracy: {self.compressed_accuracy:.4f}",
                f"Model compression rate: {self.compression_rate:.4f}{asked}",
                f"Absolute accuracy drop: {self.absolute_accuracy_degradation:.4f}",
                f"Relative accuracy drop: {self.relative_accuracy_degradation:.2f}%",
                f"Accuracy budget: {self.accuracy_budget:.4f}",
            ]
        )


@dataclass(frozen=True)
class Outcome:
    """What was found, and how.

    Attributes:
        model: the compressed model, with the weights of `best_epoch`, in evaluation mode.
        controller: of its compression; `controller.strip()` makes it small for good.
        stopped: why the loop ended; None where it was interrupted.
        holds: whether the returned model is fully compressed and its metric tolerable.
        exit_epoch: epochs that were trained.
        best_epoch: the one whose weights the model has; None where no epoch was fully compressed: it has the last ones.
        history: every validation, in order.
        statistics: figures of the returned model.
        compression: rates of the returned model, by algorithm.
        notices: what must not be overlooked.
        direction: of the metric, "maximise" or "minimise".
    """

    model: nn.Module
    controller: Controller
    stopped: Stop | None
    holds: bool
    exit_epoch: int
    best_epoch: int | None
    history: tuple[Record, ...]
    statistics: LoopStatistics
    compression: CompressionStatistics
    notices: tuple[str, ...]
    direction: str

    def strip(self) -> nn.Module:
        """The compressed model as small as its compression makes it, see `Controller.strip`."""
        return self.controller.strip()

    def unwrap(self) -> nn.Module:
        """The model, if its metric is tolerable.

        Raises:
            CompressionError: it is not; the message has the best that was found.
        """
        if self.holds:
            return self.model
        found = self.statistics
        raise CompressionError(
            f"No fully compressed model within the degradation was found in {self.exit_epoch} epochs: the best has "
            f"{found.compressed_accuracy:.4g}, which misses by {-found.accuracy_budget:.4g}. Allow more epochs or "
            "degradation, or compress less; outcome.model is the best there is."
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything but model and controller, as plain data."""
        data = {
            "stopped": None if self.stopped is None else self.stopped.value,
            "holds": self.holds,
            "exit_epoch": self.exit_epoch,
            "best_epoch": self.best_epoch,
            "direction": self.direction,
            "statistics": asdict(self.statistics),
            "compression": {name: asdict(s) for name, s in self.compression.algorithms.items()},
            "history": [asdict(record) for record in self.history],
            "notices": list(self.notices),
        }
        return KIND.stamp(data)

    def to_json(self) -> str:
        """The same as a JSON text."""
        return json.dumps(self.to_dict(), indent=2, default=dict) + "\n"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a loop; `outcome` has the best model so far, so that nothing trained is lost.

    It is None before the first validation.
    """

    def __init__(self, message: str, outcome: Outcome | None) -> None:
        super().__init__(message)
        self.outcome = outcome


def read_outcome(path: str | Path) -> Mapping[str, Any]:
    """What `Outcome.to_json` wrote.

    Raises:
        FileFormatError: the file is missing, damaged, or of another kind.
    """
    return KIND.read(path)
