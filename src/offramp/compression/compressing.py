"""`compress`: makes a model smaller, and trains it until its accuracy holds."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from offramp.backbones import evaluating
from offramp.compression.combination import conflicts
from offramp.compression.configuration import configuration_of
from offramp.compression.controller import Controller
from offramp.compression.creation import HIGHEST_RATE, create_compressed_model
from offramp.compression.loops import Bounds, EarlyExit, Loop
from offramp.compression.outcome import Outcome
from offramp.compression.running.callbacks import Callbacks
from offramp.compression.running.runner import Runner, RunOptions
from offramp.compression.tolerance import checked_metric
from offramp.errors import CompressionError


def compress(
    model: nn.Module,
    config: Any,
    *,
    train_epoch: Callable[..., Any],
    validate: Callable[..., Any],
    configure_optimizers: Callable[[], Any] | Callable[[nn.Module], Any] | None = None,
    loop: Loop | None = None,
    baseline: float | None = None,
    example: Any = None,
    data: Iterable[Any] | None = None,
    loss: Callable[[Any, Tensor], Tensor] | None = None,
    early_stopping: Callable[[float], bool] | None = None,
    update_learning_rate: Callable[..., Any] | None = None,
    maximal_rate: float = HIGHEST_RATE,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
    writer: Any = None,
    seed: int = 0,
) -> Outcome:
    """Compresses a copy of a model, and trains it under a loop until its metric is tolerable.

    With `out`, every epoch ends with a checkpoint; a loop that was interrupted or killed at any moment, and is called
    again with `resume=True`, ends with the same bits as one that was not, provided that the functions draw their
    randomness from the global generators of Python, NumPy and torch.

    Args:
        model: stays as it is.
        config: path of a configuration in JSON or JSON5, its content as a dict, an algorithm, or several.
        train_epoch: `(controller, model, epoch=, optimizer=, lr_scheduler=)`; trains one epoch. It calls
            `controller.scheduler.step()` before, and adds `controller.loss()` in, every step.
        validate: `(model, epoch=)`, or `(model, epoch=, controller=)`; gives the metric. The controller is None for the
            model before it is compressed.
        configure_optimizers: `(model)`, or `()`; gives a fresh optimizer and learning-rate scheduler (or None).
        loop: from `offramp.compression`; by default that of the configuration, else `EarlyExit()`.
        baseline: metric of the model before it is compressed; by default it is validated first.
        example: inputs of one batch; by default as `input_info` describes them, else the inputs of the first of `data`.
        data: batches of `(inputs, labels)` for initialisation.
        loss: of outputs and labels, for algorithms that train while they initialise.
        early_stopping: `(metric)`; whether to stop.
        update_learning_rate: `(lr_scheduler, epoch, metric, loss)`; instead of stepping the scheduler.
        maximal_rate: highest rate that a search may set.
        out: folder for checkpoints and logs; by default the configuration's `log_dir`.
        resume: whether a loop that is found there is continued.
        progress: whether a line per epoch is printed, on standard error.
        writer: a TensorBoard writer; by default one is made in `out`, where TensorBoard is installed.
        seed: of everything random in the initialisation.

    Returns:
        The best model, whether it holds, why the loop stopped, and how it went.

    Raises:
        ConfigurationError: the configuration has mistakes; all are named.
        CompressionError: the algorithms do not fit the model or each other, a function gives nothing usable, or `out`
            holds another loop.
        Interrupted: Ctrl-C; its `outcome` has the best model so far.

    Example:
        >>> outcome = compress(model, "pruning.json", train_epoch=train, validate=validate)  # doctest: +SKIP
        >>> outcome.holds, outcome.exit_epoch, outcome.statistics.compression_rate  # doctest: +SKIP
        (True, 3, 0.5)
    """
    configuration = configuration_of(config)
    loop = _loop(configuration.loop, loop)
    _check_together(configuration.algorithms, loop)
    callbacks = Callbacks(
        train_epoch, validate, early_stopping=early_stopping, update_learning_rate=update_learning_rate
    )
    folder = configuration.log_dir if out is None else out
    options = RunOptions(
        folder=None if folder is None else Path(folder),
        resume=resume,
        progress=progress,
        writer=writer,
        rates=Bounds(0.0, maximal_rate),
    )
    tolerance = loop.tolerance(_metric(model, validate) if baseline is None else baseline)
    controller, compressed = create_compressed_model(
        model, configuration, data=data, loss=loss, example=example, seed=seed
    )
    callbacks = replace(
        callbacks,
        configure_optimizers=_without_arguments(configure_optimizers, compressed),
        validate=_with_controller(validate, controller),
    )
    return Runner(controller, loop, tolerance, callbacks, options).run()


def _loop(configured: Loop | None, given: Loop | None) -> Loop:
    if configured is not None and given is not None:
        raise CompressionError(
            f"compress(loop={given!r}): the configuration asks for {configured!r} already; give one of the two."
        )
    return given or configured or EarlyExit()


def _check_together(algorithms: Any, loop: Loop) -> None:
    wrong = conflicts(algorithms, loop)
    if wrong:
        raise CompressionError("; ".join(wrong) + ".")


def _metric(model: nn.Module, validate: Callable[..., Any]) -> float:
    with evaluating(model), torch.no_grad():
        return checked_metric(validate(model, epoch=0), 0)


def _without_arguments(configure: Callable[..., Any] | None, model: nn.Module) -> Callable[[], Any] | None:
    """A function that takes the model gets it: the compressed one did not exist when it was written."""
    if configure is None:
        return None
    try:
        takes_model = len(inspect.signature(configure).parameters) > 0
    except (TypeError, ValueError):
        takes_model = False
    return (lambda: configure(model)) if takes_model else configure


def _with_controller(validate: Callable[..., Any], controller: Controller) -> Callable[..., Any]:
    """A function that takes the controller gets it: what a model will cost once it is stripped is known there."""
    try:
        takes_controller = "controller" in inspect.signature(validate).parameters
    except (TypeError, ValueError):
        takes_controller = False
    return partial(validate, controller=controller) if takes_controller else validate
