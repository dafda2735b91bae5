"""Everything that can be chosen about a training run, checked before anything starts."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer

from offramp.errors import TrainingError, closest
from offramp.regimes import Phase

OptimizerFactory = Callable[[Iterable[Tensor]], Optimizer]

OPTIMIZERS = {"sgd": 0.1, "adamw": 1e-3}
"""Known optimizers and their default learning rates."""
SCHEDULES = ("cosine", "step", "constant")
DEFAULT_BYTES = 2 * 1024**3
"""Memory that kept features may take where no number is given."""
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass(frozen=True)
class TrainingOptions:
    """Options of `offramp.fit`; see there for what each means."""

    epochs: int = 3
    seed: int = 0
    optimizer: str | OptimizerFactory = "sgd"
    lr: float | None = None
    momentum: float = 0.9
    weight_decay: float = 5e-4
    nesterov: bool = True
    schedule: str = "cosine"
    warmup: float = 0.0
    precision: str = "auto"
    device: str | torch.device = "auto"
    channels_last: bool = False
    out: Path | None = None
    resume: bool = False
    patience: int | None = None
    progress: bool = True
    cache_features: bool | int = False

    def __post_init__(self) -> None:
        problems = [*self._number_problems(), *self._optimizer_problems(), *self._name_problems()]
        if self.resume and self.out is None:
            problems.append("resume=True needs out=..., the folder of the run to continue")
        if problems:
            raise TrainingError("fit(): " + "; ".join(problems) + ".")

    def for_phase(self, phase: Phase) -> TrainingOptions:
        """The options of one phase: the run's, with what the phase says differently.

        Raises:
            TrainingError: they do not go together.
        """
        given = phase.settings.given()
        # A rate that was chosen for another optimizer is none for this one.
        fresh = {"lr": None} if given.get("optimizer", self.optimizer) != self.optimizer else {}
        try:
            return replace(self, **{"epochs": phase.epochs, **fresh, **given})
        except TrainingError as error:
            raise TrainingError(f"Phase '{phase.name}' ({phase.epochs} epochs): {error}") from error

    @property
    def cache_bytes(self) -> int:
        """Memory that kept features may take."""
        return DEFAULT_BYTES if self.cache_features is True else int(self.cache_features)

    @property
    def base_lr(self) -> float:
        """Learning rate of a named optimizer before the schedule."""
        return OPTIMIZERS[str(self.optimizer)] if self.lr is None else self.lr

    def _number_problems(self) -> Iterator[str]:
        if not _is_whole(self.epochs, least=1):
            yield f"epochs={self.epochs!r} must be a whole number of at least 1"
        if not _is_whole(self.seed, least=0):
            yield f"seed={self.seed!r} must be a whole number of at least 0"
        if self.patience is not None and not _is_whole(self.patience, least=1):
            yield f"patience={self.patience!r} must be None or a whole number of epochs, at least 1"
        if not isinstance(self.cache_features, bool) and not _is_whole(self.cache_features, least=1):
            yield f"cache_features={self.cache_features!r} must be True, False or a number of bytes"
        if not _is_number(self.weight_decay) or self.weight_decay < 0:
            yield f"weight_decay={self.weight_decay!r} must be a number of at least 0"
        if not _is_number(self.warmup) or self.warmup < 0:
            yield f"warmup={self.warmup!r} must be a number of epochs, at least 0"
        elif _is_whole(self.epochs, least=1) and self.warmup > self.epochs:
            yield f"warmup={self.warmup!r} is longer than epochs={self.epochs}"

    def _optimizer_problems(self) -> Iterator[str]:
        if isinstance(self.optimizer, str):
            yield from _name_problem("optimizer", self.optimizer, OPTIMIZERS)
        elif not callable(self.optimizer):
            yield f"optimizer={self.optimizer!r} must be a name or a callable that takes the parameters"
        elif self.lr is not None:
            yield f"lr={self.lr!r} cannot be given with an optimizer of your own: set it in the callable"
        if self.lr is not None and not (_is_number(self.lr) and self.lr > 0):
            yield f"lr={self.lr!r} must be a number above 0 (None chooses {OPTIMIZERS})"
        if not _is_number(self.momentum) or not 0 <= self.momentum < 1:
            yield f"momentum={self.momentum!r} must be at least 0 and below 1"
        elif self.optimizer == "sgd" and self.nesterov and self.momentum == 0:
            yield "nesterov=True needs momentum above 0; give nesterov=False"

    def _name_problems(self) -> Iterator[str]:
        yield from _name_problem("schedule", self.schedule, SCHEDULES)
        yield from _name_problem("precision", self.precision, PRECISIONS)
        try:
            torch.device("cpu" if self.device == "auto" else self.device)
        except (RuntimeError, TypeError):
            yield f"device={self.device!r} must be 'auto' or a torch device such as 'cpu' or 'cuda:0'"


def folder_of(out: str | os.PathLike[str] | None) -> Path | None:
    """The folder as a path.

    Raises:
        TrainingError: not a path.
    """
    try:
        return None if out is None else Path(out)
    except TypeError as error:
        raise TrainingError(f"fit(out={out!r}): give a folder's path, or None.") from error


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _name_problem(option: str, value: object, known: Iterable[str]) -> Iterator[str]:
    names = list(known)
    if value not in names:
        near = closest(str(value), names, most=1).removesuffix(".")
        yield f"{option}={value!r} is unknown; allowed: {', '.join(map(repr, names))} ({near[0].lower() + near[1:]})"
