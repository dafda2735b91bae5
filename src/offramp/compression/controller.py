"""The compressors of one model, handled as one."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from offramp.compression.algorithms import ALGORITHMS, Algorithm, Compressor, Stage, Statistics, Workshop
from offramp.compression.batch_norm import adapt_batch_norms
from offramp.compression.combination import conflicts
from offramp.compression.schedules import Schedule
from offramp.errors import CompressionError


@dataclass(frozen=True)
class CompressionStatistics:
    """What was asked for, and what the model has now, by algorithm.

    Attributes:
        algorithms: statistics of each, by its name in configurations.
        searched: names of those whose rate may be searched; where there are any, theirs are the rates.
    """

    algorithms: Mapping[str, Statistics]
    searched: tuple[str, ...] = ()

    @property
    def nominal(self) -> float | None:
        """Rate asked for: the lowest where several algorithms have one, None where none has."""
        return min((s.nominal for s in self._rated() if s.nominal is not None), default=None)

    @property
    def achieved(self) -> float | None:
        """Rate measured on the model, likewise."""
        return min((s.achieved for s in self._rated() if s.achieved is not None), default=None)

    def _rated(self) -> Iterator[Statistics]:
        return (self.algorithms[name] for name in self.searched or self.algorithms)

    def scalars(self) -> Iterator[tuple[str, float]]:
        """Names and values for a log: `filter_pruning/achieved`, `filter_pruning/macs`, ..."""
        for name, statistics in self.algorithms.items():
            for key in ("nominal", "achieved"):
                if (value := getattr(statistics, key)) is not None:
                    yield f"{name}/{key}", value
            for key, value in statistics.details.items():
                yield f"{name}/{key}", value

    def to_str(self) -> str:
        """A line per number."""
        return "\n".join(f"{name}: {value:.4g}" for name, value in self.scalars())


class Scheduler:
    """Moves all compressors through epochs and steps.

    Args:
        compressors: to be moved.

    Attributes:
        current_epoch: the one last begun, from 0; -1 before the first.
        current_step: the one last begun, from 0 through all epochs; -1 before the first.
    """

    def __init__(self, compressors: Sequence[Compressor]) -> None:
        self._compressors = compressors
        self.current_epoch = -1
        self.current_step = -1

    def epoch_step(self, next_epoch: int | None = None) -> None:
        """Begins an epoch: the next one, or the one that is named."""
        self.current_epoch = self.current_epoch + 1 if next_epoch is None else next_epoch
        for compressor in self._compressors:
            compressor.epoch_step(self.current_epoch)

    def step(self, next_step: int | None = None) -> None:
        """Begins an optimizer step; to be called before each."""
        self.current_step = self.current_step + 1 if next_step is None else next_step
        for compressor in self._compressors:
            compressor.step()


class Controller:
    """What training has to do with the compression of its model; also goes by NNCF's names.

    Args:
        model: the compressed model, to which the algorithms were applied.
        algorithms: in the order in which they were applied.
        compressors: of each.
        workshop: that they were applied with.
    """

    def __init__(
        self,
        model: nn.Module,
        algorithms: Sequence[Algorithm],
        compressors: Sequence[Compressor],
        workshop: Workshop,
    ) -> None:
        self.model = model
        self.algorithms = tuple(algorithms)
        self.compressors = tuple(compressors)
        self.workshop = workshop
        self.scheduler = Scheduler(self.compressors)
        self.notices: tuple[str, ...] = ()
        self._adapt()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the algorithms, in order."""
        return tuple(ALGORITHMS.name_of(type(algorithm)) for algorithm in self.algorithms)

    def loss(self) -> Tensor | float:
        """What is to be added to the loss of the model's latest forward pass in training mode."""
        # Without a start value of 0 a tensor stays what it is.
        terms = [compressor.loss() for compressor in self.compressors]
        return sum(terms[1:], start=terms[0])

    def compression_stage(self) -> Stage:
        """The stage of all compressors where they agree, else PARTLY."""
        stages = {compressor.stage for compressor in self.compressors}
        return stages.pop() if len(stages) == 1 else Stage.PARTLY

    @property
    def full(self) -> bool:
        """Whether all compressors have done all that they were asked for."""
        return self.compression_stage() == Stage.FULLY

    def statistics(self, quickly_collected_only: bool = False) -> CompressionStatistics:
        """Asked for and achieved, measured now.

        Args:
            quickly_collected_only: for NNCF's sake; all of it is quick.
        """
        found = {name: c.statistics() for name, c in zip(self.names, self.compressors, strict=True)}
        pairs = zip(self.names, self.algorithms, strict=True)
        return CompressionStatistics(found, tuple(name for name, a in pairs if a.rate_can_be_searched))

    @property
    def compression_rate(self) -> float:
        """Rate asked for; 0 where no algorithm has one. `statistics().achieved` is what came of it."""
        return self.statistics().nominal or 0.0

    @compression_rate.setter
    def compression_rate(self, rate: float) -> None:
        """Sets the rate of every algorithm whose rate may be searched, and adapts the batch norms.

        Raises:
            CompressionError: there is no such algorithm, or the rate is out of bounds.
        """
        searched = self._searched()
        if not searched or not 0 <= rate <= self.maximal_compression_rate:
            raise CompressionError(
                f"The compression rate cannot be set to {rate!r}: {', '.join(self.names)} can take "
                + (f"0 to {self.maximal_compression_rate:.4g}." if searched else "none.")
            )
        for compressor in searched:
            compressor.set_rate(rate)
        self._adapt()

    @property
    def maximal_compression_rate(self) -> float:
        """Highest rate that can be set: the lowest of the maxima."""
        return min((compressor.maximal_rate for compressor in self._searched()), default=0.0)

    def epochs_until_full(self, most: int) -> int | None:
        """Epochs that the schedules take to their targets, None where it is more than `most`; the slowest decides."""
        if self.full:
            return 0
        found = [getattr(compressor, "schedule", None) for compressor in self.compressors]
        schedules = [schedule for schedule in found if isinstance(schedule, Schedule)]
        return next((e + 1 for e in range(most) if all(schedule.finished(e) for schedule in schedules)), None)

    def disable_scheduler(self) -> None:
        """Keeps every rate that may be searched where it is now."""
        for compressor in self._searched():
            compressor.set_rate(compressor.statistics().nominal or 0.0)

    def strip(self, do_copy: bool = True) -> nn.Module:
        """The model without what was only needed to compress it, and as small as that makes it.

        Args:
            do_copy: False changes the controller's own model, which cannot be trained any more then.
        """
        model = copy.deepcopy(self.model) if do_copy else self.model
        for compressor in reversed(self.compressors):
            compressor.bake(model)
        for compressor in self.compressors:
            model = compressor.shrink(model)
        return model.eval()

    def export_model(self, path: str | os.PathLike[str]) -> None:
        """Writes the stripped model as ONNX, its weights inside.

        Raises:
            MissingExtraError: the packages for ONNX are not installed.
            ExportError: an operation does not convert.
        """
        from offramp.compression.exporting import export_onnx

        export_onnx(self.strip(), self.workshop.example, path)

    def state_dict(self) -> dict[str, Any]:
        """Plain data and tensors: all of the compression that is not in the model's state dict."""
        return {
            "algorithms": {name: c.state_dict() for name, c in zip(self.names, self.compressors, strict=True)},
            "epoch": self.scheduler.current_epoch,
            "step": self.scheduler.current_step,
        }

    get_compression_state = state_dict

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`, to be followed by the model's own.

        Raises:
            CompressionError: the state is that of other algorithms.
        """
        saved = state["algorithms"]
        if tuple(saved) != self.names:
            raise CompressionError(
                f"The state is that of {', '.join(saved)}; this model is compressed by {', '.join(self.names)}."
            )
        for name, compressor in zip(self.names, self.compressors, strict=True):
            compressor.load_state_dict(saved[name])
        self.scheduler.current_epoch, self.scheduler.current_step = state["epoch"], state["step"]

    def _searched(self) -> list[Compressor]:
        pairs = zip(self.algorithms, self.compressors, strict=True)
        return [compressor for algorithm, compressor in pairs if algorithm.rate_can_be_searched]

    def _adapt(self) -> None:
        samples = max(algorithm.batch_norm_samples for algorithm in self.algorithms)
        if not samples or not any(isinstance(module, _BatchNorm) for module in self.model.modules()):
            return
        if self.workshop.data is None:
            self.notices = (
                f"Batch norms were not adapted to {samples} samples after compressing: no data was given. "
                "Pass data=..., or set num_bn_adaptation_samples to 0.",
            )
        else:
            adapt_batch_norms(self.model, self.workshop.data, samples)


def apply(model: nn.Module, algorithms: Sequence[Algorithm], workshop: Workshop) -> Controller:
    """Applies algorithms to a model, in place, each in its turn.

    Args:
        model: is changed.
        algorithms: in any order; pruning comes before sparsity, and both before quantization.
        workshop: what they may use.

    Raises:
        CompressionError: algorithms do not go together, find nothing to compress, or aim higher than they can reach.
    """
    wrong = conflicts(algorithms)
    if wrong:
        raise CompressionError("; ".join(wrong) + ".")
    ordered = sorted(algorithms, key=lambda algorithm: algorithm.order)
    compressors = [algorithm.apply(model, workshop) for algorithm in ordered]
    controller = Controller(model, ordered, compressors, workshop)
    _check_reachable(controller)
    return controller


def _check_reachable(controller: Controller) -> None:
    """Says at once what would be found out after all epochs."""
    for name, algorithm, compressor in zip(
        controller.names, controller.algorithms, controller.compressors, strict=True
    ):
        target = algorithm.target_rate
        if target is not None and target > compressor.maximal_rate + 1e-6:
            raise CompressionError(
                f"{name} is to reach a rate of {target:.4g}, and can take at most {compressor.maximal_rate:.4g} of "
                "this model. Lower the target, or ignore fewer layers."
            )
