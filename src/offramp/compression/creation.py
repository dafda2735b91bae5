"""From a model and a configuration to a compressed model with its controller, and from there to a loop.

The names and the order of arguments are NNCF's, for those who come from there.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from offramp.backbones import device_of, map_tensors
from offramp.compression.algorithms import Workshop
from offramp.compression.combination import conflicts
from offramp.compression.configuration import Configuration, configuration_of
from offramp.compression.controller import Controller, apply
from offramp.compression.loops import Bounds, Loop
from offramp.compression.outcome import LoopStatistics, Outcome
from offramp.compression.running.callbacks import Callbacks
from offramp.compression.running.runner import Runner, RunOptions
from offramp.errors import CompressionError
from offramp.recording import unpack

HIGHEST_RATE = 0.95
"""Rates above this are not searched: hardly a network keeps its accuracy with so little left."""


def create_compressed_model(
    model: nn.Module,
    config: Any,
    compression_state: Mapping[str, Any] | None = None,
    *,
    data: Iterable[Any] | None = None,
    loss: Callable[[Any, Tensor], Tensor] | None = None,
    example: Any = None,
    seed: int = 0,
) -> tuple[Controller, nn.Module]:
    """Compresses a copy of a model, ready to be trained.

    Args:
        model: stays as it is, and is the teacher where one is needed.
        config: path of a configuration, its content as a dict, a `Configuration`, or algorithms.
        compression_state: from `controller.get_compression_state()`, to go on where it was; the weights are loaded
            into the model that is returned.
        data: batches of `(inputs, labels)` for initialisation: ranges, batch norms.
        loss: of outputs and labels, for algorithms that train while they initialise.
        example: inputs of one batch; by default as `input_info` describes them, else the inputs of the first of `data`.
        seed: of everything random in the initialisation.

    Returns:
        The controller, and the compressed model.

    Raises:
        ConfigurationError: the configuration has mistakes; all are named.
        CompressionError: an algorithm finds nothing to compress, aims higher than it can reach, or lacks what it needs.
    """
    configuration = configuration_of(config)
    compressed = copy.deepcopy(model)
    known = {id(parameter) for parameter in compressed.parameters()}
    inputs = map_tensors(lambda tensor: tensor.to(device_of(model)), _example(example, configuration, data))
    workshop = Workshop(inputs, _frozen_copy(model), data, loss, seed)
    controller = apply(compressed, configuration.algorithms, workshop)
    _scale_gradients(compressed, known, configuration.compression_lr_multiplier)
    if compression_state is not None:
        controller.load_state_dict(compression_state)
    return controller, compressed


def create_accuracy_aware_training_loop(
    config: Any,
    controller: Controller,
    uncompressed_model_accuracy: float,
    *,
    dump_checkpoints: bool = True,
    lr_updates_needed: bool = True,
    verbose: bool = True,
    minimal_compression_rate: float = 0.0,
    maximal_compression_rate: float = HIGHEST_RATE,
    resume: bool = False,
) -> AccuracyAwareTrainingLoop:
    """The loop that a configuration asks for in `accuracy_aware_training`.

    Args:
        config: as for `create_compressed_model`.
        controller: from there.
        uncompressed_model_accuracy: metric of the model before it was compressed.
        dump_checkpoints: whether the state is written after every epoch, beside the best model.
        lr_updates_needed: whether learning-rate schedulers are stepped after every epoch.
        verbose: whether a line per epoch is printed.
        minimal_compression_rate: lowest rate that is searched.
        maximal_compression_rate: highest rate that is searched; no higher than the model allows.
        resume: whether a loop that was interrupted in `log_dir` is continued.

    Raises:
        CompressionError: the configuration asks for no loop, or for one that does not go with its algorithms.
    """
    configuration = configuration_of(config)
    if configuration.loop is None:
        raise CompressionError(
            'The configuration asks for no loop. Add "accuracy_aware_training": {"mode": "early_exit", "params": '
            '{"maximal_relative_accuracy_degradation": 1.0, "maximal_total_epochs": 100}}.'
        )
    options = RunOptions(
        folder=None if configuration.log_dir is None else Path(configuration.log_dir),
        dump_checkpoints=dump_checkpoints,
        progress=verbose,
        step_schedulers=lr_updates_needed,
        rates=Bounds(minimal_compression_rate, maximal_compression_rate),
    )
    return AccuracyAwareTrainingLoop(configuration.loop, controller, uncompressed_model_accuracy, options, resume)


class AccuracyAwareTrainingLoop:
    """A loop that waits for the functions that train and validate.

    Args:
        loop: its settings.
        controller: of the compressed model.
        uncompressed_model_accuracy: metric of the model before.
        options: how it is run.
        resume: whether an interrupted loop is continued.

    Raises:
        CompressionError: loop and algorithms do not go together, or there is no criterion for this accuracy.
    """

    def __init__(
        self,
        loop: Loop,
        controller: Controller,
        uncompressed_model_accuracy: float,
        options: RunOptions,
        resume: bool = False,
    ) -> None:
        wrong = conflicts(controller.algorithms, loop)
        if wrong:
            raise CompressionError("; ".join(wrong) + ".")
        self.loop, self.controller, self._options, self._resume = loop, controller, options, resume
        self.tolerance = loop.tolerance(uncompressed_model_accuracy)
        self._outcome: Outcome | None = None

    def run(
        self,
        model: nn.Module,
        train_epoch_fn: Callable[..., Any],
        validate_fn: Callable[..., Any],
        configure_optimizers_fn: Callable[[], Any] | None = None,
        dump_checkpoint_fn: Callable[..., Any] | None = None,
        load_checkpoint_fn: Callable[..., Any] | None = None,
        early_stopping_fn: Callable[[float], bool] | None = None,
        tensorboard_writer: Any = None,
        log_dir: str | os.PathLike[str] | None = None,
        update_learning_rate_fn: Callable[..., Any] | None = None,
    ) -> nn.Module:
        """Trains until the criterion is met, or cannot be; see `Callbacks` for how the functions are called.

        Args:
            model: the compressed one, of the controller.
            train_epoch_fn: trains one epoch.
            validate_fn: gives the metric.
            configure_optimizers_fn: gives a fresh optimizer and learning-rate scheduler.
            dump_checkpoint_fn: writes a checkpoint of its own.
            load_checkpoint_fn: loads the best model's checkpoint.
            early_stopping_fn: whether to stop, by the metric.
            tensorboard_writer: of the caller; by default one is made in `log_dir`.
            log_dir: for checkpoints and logs; by default the configuration's. Without one all is kept in memory.
            update_learning_rate_fn: instead of stepping the scheduler.

        Returns:
            The same model, with its best weights.

        Raises:
            CompressionError: a function is missing or gives nothing usable, or the folder holds another loop.
            Interrupted: Ctrl-C; its `outcome` has the best model so far.
        """
        if model is not self.controller.model:
            raise CompressionError("run(model=...): give the model that create_compressed_model returned.")
        callbacks = Callbacks(
            train_epoch=train_epoch_fn,
            validate=validate_fn,
            configure_optimizers=configure_optimizers_fn,
            early_stopping=early_stopping_fn,
            update_learning_rate=update_learning_rate_fn,
            dump_checkpoint=dump_checkpoint_fn,
            load_checkpoint=load_checkpoint_fn,
        )
        folder = self._options.folder if log_dir is None else Path(log_dir)
        options = replace(self._options, folder=folder, writer=tensorboard_writer, resume=self._resume)
        self._outcome = Runner(self.controller, self.loop, self.tolerance, callbacks, options).run()
        return self._outcome.model

    @property
    def outcome(self) -> Outcome:
        """Why the loop stopped, its history, what came of it.

        Raises:
            CompressionError: it has not run yet.
        """
        if self._outcome is None:
            raise CompressionError("The loop has not come to its end yet: call run() first.")
        return self._outcome

    @property
    def statistics(self) -> LoopStatistics:
        """Figures of the model that `run` returned.

        Raises:
            CompressionError: the loop has not run yet.
        """
        return self.outcome.statistics


def _example(example: Any, configuration: Configuration, data: Iterable[Any] | None) -> Any:
    if example is not None:
        return example
    if configuration.inputs:
        return configuration.example
    if data is not None:
        for batch in data:
            return unpack(batch)[0]
    raise CompressionError(
        "Compressing needs inputs to try the model with: pass example=..., data=..., or describe them in the "
        'configuration, e.g. "input_info": {"sample_size": [1, 3, 224, 224]}.'
    )


def _frozen_copy(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).eval().requires_grad_(False)


def _scale_gradients(model: nn.Module, known: set[int], factor: float) -> None:
    """Makes the parameters that algorithms have added learn faster or slower, whatever the optimizer's groups are."""
    if factor == 1.0:
        return
    for parameter in model.parameters():
        if id(parameter) not in known and parameter.requires_grad:
            parameter.register_hook(lambda gradient: gradient * factor)  # type: ignore[no-untyped-call]
