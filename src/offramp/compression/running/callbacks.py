"""The caller's functions, and how they are called: as NNCF called them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from torch import nn

from offramp.compression.tolerance import DivergedError
from offramp.errors import CompressionError

REQUIRED = ("train_epoch", "validate")


@dataclass(frozen=True)
class Callbacks:
    """What a loop needs from its caller.

    Attributes:
        train_epoch: `(controller, model, epoch=, optimizer=, lr_scheduler=)`; trains one epoch, and may return its
            loss. It calls `controller.scheduler.step()` before, and adds `controller.loss()` in, every step.
        validate: `(model, epoch=)`; returns the metric. The model is in evaluation mode, without gradients.
        configure_optimizers: `()`; a fresh optimizer and learning-rate scheduler, either of which may be None, or
            lists of them.
        early_stopping: `(metric)`; whether to stop; asked after epochs with a fully compressed model.
        update_learning_rate: `(lr_scheduler, epoch, metric, loss)`; instead of stepping the scheduler.
        dump_checkpoint: `(model, controller, runner, folder)`; writes a checkpoint of its own after every epoch.
        load_checkpoint: `(model, path)`; loads the best model's checkpoint instead of the loop.
    """

    train_epoch: Callable[..., Any]
    validate: Callable[..., Any]
    configure_optimizers: Callable[[], Any] | None = None
    early_stopping: Callable[[float], bool] | None = None
    update_learning_rate: Callable[..., Any] | None = None
    dump_checkpoint: Callable[..., Any] | None = None
    load_checkpoint: Callable[[nn.Module, str | os.PathLike[str]], Any] | None = None

    def __post_init__(self) -> None:
        given = {item.name: getattr(self, item.name) for item in fields(self)}
        wrong = [
            f"{name} is missing" if value is None else f"{name}={value!r} cannot be called"
            for name, value in given.items()
            if not callable(value) and (value is not None or name in REQUIRED)
        ]
        if wrong:
            raise CompressionError(
                f"Functions that the loop needs: {'; '.join(wrong)}. Give train_epoch(controller, model, epoch, "
                "optimizer, lr_scheduler) and validate(model, epoch)."
            )


def checked_loss(value: object, epoch: int) -> float | None:
    """What a training function returned, as a number; None where it returned none.

    Raises:
        DivergedError: it is not finite.
    """
    try:
        loss = None if value is None else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        # Functions that return more than a loss keep it to themselves.
        return None
    if loss is not None and not math.isfinite(loss):
        raise DivergedError(f"The training function returned the loss {loss} at epoch {epoch}: lower the rate.")
    return loss
