"""The optimizer, and the learning rate as a pure function of how far a phase has come."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch.optim import Optimizer

from offramp.errors import TrainingError
from offramp.training.options import TrainingOptions

STEPS, DECAY = (0.5, 0.75), 0.1


def make_optimizer(
    parameters: Iterable[torch.nn.Parameter], options: TrainingOptions, lr_factor: float = 1.0
) -> Optimizer:
    """The optimizer of one phase; remembers each group's learning rate, times the factor, as `initial_lr`.

    Raises:
        TrainingError: nothing is trainable, or the caller's callable does not return an optimizer.
    """
    trainable = [p for p in parameters if p.requires_grad]
    if not trainable:
        raise TrainingError("fit(model=...) has no parameter with requires_grad=True: nothing would train.")
    optimizer = _optimizer(trainable, options)
    if not isinstance(optimizer, Optimizer):
        raise TrainingError(
            f"fit(optimizer=...) returned {type(optimizer).__name__}; it must return a torch Optimizer."
        )
    for group in optimizer.param_groups:
        group["initial_lr"] = float(group["lr"]) * lr_factor
    return optimizer


def _optimizer(trainable: list[torch.nn.Parameter], options: TrainingOptions) -> Any:
    if callable(options.optimizer):
        return options.optimizer(trainable)
    if options.optimizer == "adamw":
        return torch.optim.AdamW(trainable, lr=options.base_lr, weight_decay=options.weight_decay)
    return torch.optim.SGD(
        trainable,
        lr=options.base_lr,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        nesterov=options.nesterov,
    )


def describe(optimizer: Optimizer) -> dict[str, Any]:
    """Class and hyper-parameters as plain data, to recognise a run that is resumed."""
    groups = [
        {key: _plain(value) for key, value in group.items() if key not in ("params", "lr")}
        for group in optimizer.param_groups
    ]
    return {"class": type(optimizer).__name__, "groups": groups}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


class Schedule:
    """Learning-rate factor over a phase; holds no state, so a resumed run cannot lose it.

    With t the epochs done, fractions included, of T, and a linear rise over the first `warmup` epochs:
    cosine: `(1 + cos(pi t / T)) / 2`, changed at every step; step: x 0.1 at T / 2 and again at 3 T / 4;
    constant: 1. The rise multiplies the others.

    Args:
        kind: "cosine", "step" or "constant".
        epochs: length T of the phase.
        warmup: length of the rise in epochs, fractions allowed.

    Example:
        >>> Schedule("cosine", epochs=4).factor(epochs_done=2.0)
        0.5
    """

    def __init__(self, kind: str, epochs: int, warmup: float = 0.0) -> None:
        self.kind = kind
        self.epochs = epochs
        self.warmup = warmup

    def factor(self, epochs_done: float, step: float = 0.0) -> float:
        """Factor on the initial learning rate for the step that begins at `epochs_done` and is `step` epochs long."""
        # The rise counts the step it is for: the very first would otherwise be wasted on a rate of zero.
        rise = min(1.0, (epochs_done + step) / self.warmup) if self.warmup else 1.0
        return rise * self._decay(epochs_done / self.epochs)

    def _decay(self, share: float) -> float:
        if self.kind == "cosine":
            return (1 + math.cos(math.pi * share)) / 2
        if self.kind == "step":
            return float(DECAY ** sum(share >= s for s in STEPS))
        return 1.0

    def apply(self, optimizer: Optimizer, epochs_done: float, step: float) -> None:
        """Sets every group's learning rate, see `factor`."""
        factor = self.factor(epochs_done, step)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
