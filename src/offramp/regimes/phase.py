"""A phase of training: what trains, for how long, under which loss, and how."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, Self

from torch import nn

from offramp.errors import TrainingError
from offramp.regimes.losses import ExitLoss, Step

PARTS = ("all", "backbone", "heads")
"""Parts that every ExitModel has: everything; the user's module with its own output; the early exits' heads."""


@dataclass(frozen=True)
class Settings:
    """How a phase trains, where it differs from the run; None is what `fit` was given.

    Args:
        optimizer: "sgd", "adamw", or a callable as for `fit`.
        lr: initial learning rate.
        lr_factor: multiplies it, whichever it is.
        weight_decay: of SGD and AdamW.
        schedule: "cosine", "step" or "constant".
        warmup: epochs over which the rate first rises.
        patience: epochs without improvement after which an exit is out of patience.

    Raises:
        TrainingError: `lr_factor` is no number above 0. The other values are checked by `fit`.

    Example:
        >>> Settings(lr_factor=0.1).to_dict()
        {'lr_factor': 0.1}
    """

    optimizer: str | Callable[..., Any] | None = None
    lr: float | None = None
    lr_factor: float = 1.0
    weight_decay: float | None = None
    schedule: str | None = None
    warmup: float | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        factor = self.lr_factor
        if isinstance(factor, bool) or not isinstance(factor, int | float) or not (0 < factor < math.inf):
            raise TrainingError(f"Settings(lr_factor={factor!r}): give a number above 0; 1 leaves the rate as it is.")

    def given(self) -> dict[str, Any]:
        """What differs from the run, `lr_factor` left out."""
        return {name: value for name, value in asdict(self).items() if value is not None and name != "lr_factor"}

    def to_dict(self) -> dict[str, Any]:
        """Plain data; a callable is told by its name."""
        factor = {} if self.lr_factor == 1 else {"lr_factor": self.lr_factor}
        return {**{name: _named(value) for name, value in self.given().items()}, **factor}


def _named(value: Any) -> Any:
    return getattr(value, "__qualname__", repr(value)) if callable(value) else value


AS_THE_RUN = Settings()


class Removable(Protocol):
    """What torch's hooks give back."""

    def remove(self) -> None:
        """Undoes what was done."""


class PassChange(ABC):
    """Changes the forward or the backward pass of a model's training steps, by hooks; validation sees none of it.

    Attributes:
        skips_parameters: whether there are steps in which parameters that train get no gradient from it: several
            processes must then look for those.
    """

    skips_parameters: bool = False

    @abstractmethod
    def install(self, model: nn.Module, now: Callable[[], Step]) -> list[Removable]:
        """Puts the hooks on.

        Args:
            model: has exits.
            now: tells where training stands when a hook is called.

        Returns:
            What takes them off again.

        Raises:
            TrainingError: the model cannot be changed so; the message says why.
        """

    def check(self, model: nn.Module) -> None:
        """Looks whether a model can be changed so, before anything starts.

        Raises:
            TrainingError: it cannot.
        """
        for handle in self.install(model, Step):
            handle.remove()


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one loss; optimizer and schedule start afresh in each phase.

    What does not train is in evaluation mode and gets no gradient, so that neither its parameters nor its buffers
    (batch statistics) change by a bit.

    Args:
        name: shown in the history, unique within its regime.
        epochs: passes over the training data, at least 1; fewer are run where patience ends the phase.
        loss: over the logits of every exit.
        trains: which part learns: one of `PARTS`; the name of a submodule of the model, such as "heads.0"; "stages.k"
            for what runs between the cuts k - 1 and k; or several of these.
        settings: optimizer, learning rate and patience, where they differ from the run's.
        watches: exits (0 is the earliest) whose validation accuracy decides which epoch is best and when patience
            is out; None for those that `trains` suggests: the final one for "backbone", the early ones for "heads",
            else all.
        changes: of the forward and backward pass of its steps.
        needs_backbone: whether the backbone must have been trained before; where it has not, there is a warning.

    Raises:
        TrainingError: impossible epochs, or nothing that trains.
    """

    name: str
    epochs: int
    loss: ExitLoss
    trains: str | tuple[str, ...] = "all"
    settings: Settings = AS_THE_RUN
    watches: tuple[int, ...] | None = None
    changes: tuple[PassChange, ...] = ()
    needs_backbone: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.epochs, bool) or not isinstance(self.epochs, int) or self.epochs < 1:
            raise TrainingError(f"Phase '{self.name}' has epochs={self.epochs!r}; give a whole number of at least 1.")
        if not self.parts or not all(isinstance(part, str) for part in self.parts):
            raise TrainingError(
                f"Phase '{self.name}' has trains={self.trains!r}; give one of {', '.join(PARTS)}, 'stages.0' and so "
                "on, or names of the model's submodules."
            )

    @property
    def parts(self) -> tuple[str, ...]:
        """What trains, as a tuple."""
        return (self.trains,) if isinstance(self.trains, str) else tuple(self.trains)

    @property
    def trains_early_exits(self) -> bool:
        """Whether several exits learn in it: what wrapping regimes change."""
        return self.parts[0] in ("all", "heads")

    def watched(self, exits: int) -> tuple[int, ...]:
        """The exits that decide on the best epoch and on patience, for a model with this many."""
        if self.watches is not None:
            return self.watches
        usual = {"backbone": range(exits - 1, exits), "heads": range(exits - 1)}
        return tuple(usual.get(self.parts[0] if len(self.parts) == 1 else "all", range(exits)))

    def with_change(self, change: PassChange) -> Self:
        """The same phase with one more change of the pass."""
        return replace(self, changes=(*self.changes, change))

    def check(self, exits: int) -> None:
        """Looks whether the phase fits a model with this many exits.

        Raises:
            TrainingError: its loss is for another number of exits, or it watches one that is not there.
        """
        self.loss.check(exits)
        wrong = [exit for exit in self.watched(exits) if not 0 <= exit < exits]
        if wrong or not self.watched(exits):
            raise TrainingError(
                f"Phase '{self.name}' watches the exits {list(self.watched(exits))}; the model has the exits 0 to "
                f"{exits - 1}."
            )
