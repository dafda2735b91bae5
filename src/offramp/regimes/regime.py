"""The contract of a regime, its phases and their loss over the exits, and the registry of regimes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from offramp.errors import TrainingError
from offramp.registry import Registry

PARTS = ("all",)


class Losses(NamedTuple):
    """What a phase's loss gives for one batch.

    Attributes:
        total: scalar that is minimised.
        exits: `[exits]`, mean loss of the batch at each exit, for the record and for finding a diverged exit.
    """

    total: Tensor
    exits: Tensor


ExitLoss = Callable[[Sequence[Tensor], Tensor], Losses]
"""Takes every exit's logits `[n, classes]`, earliest first, and the labels `[n]`."""


@dataclass(frozen=True)
class WeightedCrossEntropy:
    """`total = sum_i weights[i] * CE(logits_i, labels)`, CE averaged over the batch, in nats.

    Args:
        weights: one per exit, earliest first, the final exit included.
        label_smoothing: share of each target spread evenly over the classes, in [0, 1).

    Example:
        >>> loss = WeightedCrossEntropy(weights=(0.5, 0.5))
        >>> loss([torch.zeros(1, 2), torch.zeros(1, 2)], torch.tensor([0])).total
        tensor(0.6931)
    """

    weights: tuple[float, ...]
    label_smoothing: float = 0.0

    def __call__(self, logits: Sequence[Tensor], labels: Tensor) -> Losses:
        """Weighted sum and the terms it is made of."""
        terms = [F.cross_entropy(z, labels, label_smoothing=self.label_smoothing) for z in logits]
        # Weights stay Python numbers: making a tensor of them would wait for the device at every step.
        total = torch.stack([w * term for w, term in zip(self.weights, terms, strict=True)]).sum()
        return Losses(total=total, exits=torch.stack(terms).detach())


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one loss; optimizer and schedule start afresh in each phase.

    Args:
        name: shown in the history, unique within its regime.
        epochs: passes over the training data, at least 1; fewer are run where patience ends the phase.
        loss: over the logits of every exit.
        trains: which part learns, one of `PARTS`: everything, for now.
    """

    name: str
    epochs: int
    loss: ExitLoss
    trains: str = "all"

    def __post_init__(self) -> None:
        if isinstance(self.epochs, bool) or not isinstance(self.epochs, int) or self.epochs < 1:
            raise TrainingError(f"Phase '{self.name}' has epochs={self.epochs!r}; give a whole number of at least 1.")
        if self.trains not in PARTS:
            raise TrainingError(f"Phase '{self.name}' has trains={self.trains!r}; allowed: {', '.join(PARTS)}.")


class Regime(ABC):
    """How the exits of a model learn; members are frozen dataclasses, their fields are their parameters."""

    @abstractmethod
    def phases(self, model_exits: int, epochs: int) -> tuple[Phase, ...]:
        """The phases for a model, in order.

        Args:
            model_exits: number of exits, the backbone's own output included.
            epochs: epochs to share out between the phases.

        Raises:
            TrainingError: the regime's parameters do not fit this number of exits or epochs.
        """

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters, for the record and to recognise a run that is resumed."""
        return {"name": REGIMES.name_of(type(self)), **asdict(self)}  # type: ignore[call-overload]


REGIMES: Registry[type[Regime]] = Registry("regime", TrainingError)

Member = TypeVar("Member", bound=type[Regime])


def register(member: Member) -> Member:
    """Class decorator that files a regime under its name in snake case."""
    REGIMES.register(member)
    return member
