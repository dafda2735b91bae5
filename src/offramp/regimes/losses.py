"""What a phase minimises: the contract of a loss over the exits, and the weighted cross-entropy most regimes use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from offramp.criteria import Criterion
from offramp.errors import TrainingError


class Losses(NamedTuple):
    """What a phase's loss gives for one batch.

    Attributes:
        total: scalar that is minimised.
        exits: `[exits]`, mean loss of the batch at each exit, for the record and for finding a diverged exit.
    """

    total: Tensor
    exits: Tensor


@dataclass(frozen=True)
class Step:
    """What a loss, or a change of the pass, may know about the step it is in.

    Attributes:
        number: steps done in this phase before this one.
        epoch: epochs done in this phase.
        done: share of the phase that is done, in [0, 1); by epochs where the loader does not tell its length.
        seed: differs from step to step and from run to run, and is the same in all processes.
        lr: learning rate of the step.
        inputs: of the model, on its device.
        features: per exit the tensor that its head reads, see `ExitLoss.features`; empty where nobody asked.
    """

    number: int = 0
    epoch: int = 0
    done: float = 0.0
    seed: int = 0
    lr: float = 0.0
    inputs: Any = None
    features: tuple[Tensor, ...] = ()


FIRST = Step()


class ExitLoss(ABC):
    """A loss over the logits of every exit. One that is an `nn.Module` too has parameters that train along.

    Attributes:
        features: whether it needs `Step.features`: what the cuts return, and what the layer that makes the backbone's
            logits is given.
    """

    features: bool = False

    @abstractmethod
    def __call__(self, logits: Sequence[Tensor], labels: Tensor, step: Step = FIRST) -> Losses:
        """Loss of one batch.

        Args:
            logits: per exit `[n, classes]`, earliest first, the backbone's own output last.
            labels: `[n]` int64.
            step: where training stands.
        """

    def answers(self, logits: Sequence[Tensor]) -> Sequence[Tensor]:
        """What each exit answers when it is trained so, `[n, classes]`: its logits, unless it answers with others."""
        return logits

    def criterion(self) -> Criterion | None:
        """The criterion that answers as the exits were trained to; None where their own logits answer."""
        return None

    def check(self, exits: int) -> None:  # noqa: B027 - most losses fit any number of exits
        """Refuses a model with another number of exits than the loss is for.

        Raises:
            TrainingError: naming both numbers.
        """

    def begins(self, model: nn.Module) -> None:  # noqa: B027 - most losses need not see the model
        """Called when its phase starts, before the optimizer is made: the place to build what needs the model."""


@dataclass(frozen=True)
class WeightedCrossEntropy(ExitLoss):
    """`total = sum_i weights[i] * CE(logits_i, labels)`, CE averaged over the batch, in nats.

    An exit of weight 0 is left out of the gradient, and so costs no backward pass.

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

    def __call__(self, logits: Sequence[Tensor], labels: Tensor, step: Step = FIRST) -> Losses:
        """Weighted sum and the terms it is made of."""
        weights = self.weights_at(step)
        heard = [z if w else z.detach() for w, z in zip(weights, logits, strict=True)]
        terms = [F.cross_entropy(z, labels, label_smoothing=self.label_smoothing) for z in heard]
        # Weights stay Python numbers: making a tensor of them would wait for the device at every step.
        total = torch.stack([w * term for w, term in zip(weights, terms, strict=True) if w]).sum()
        return Losses(total=total, exits=torch.stack(terms).detach())

    def weights_at(self, step: Step) -> tuple[float, ...]:
        """The weights in this step: always the same, unless a derived class says otherwise."""
        return self.weights

    def check(self, exits: int) -> None:
        """See `ExitLoss.check`."""
        if len(self.weights) != exits:
            raise TrainingError(
                f"A loss has {len(self.weights)} weights {list(self.weights)}, the model has {exits} exits; give one "
                "per exit, earliest first, the final exit included."
            )
        if not any(self.weights):
            raise TrainingError(f"A loss has the weights {list(self.weights)}: with none above 0 nothing would train.")


@dataclass(frozen=True)
class Sum(ExitLoss):
    """`total = sum of the parts' totals`; the exits' losses for the record are those of the first part.

    Args:
        parts: at least one.
    """

    parts: tuple[ExitLoss, ...]

    @property
    def features(self) -> bool:  # type: ignore[override]
        """Whether any part needs them."""
        return any(part.features for part in self.parts)

    def __call__(self, logits: Sequence[Tensor], labels: Tensor, step: Step = FIRST) -> Losses:
        """The parts added up."""
        given = [part(logits, labels, step) for part in self.parts]
        return Losses(total=torch.stack([losses.total for losses in given]).sum(), exits=given[0].exits)

    def answers(self, logits: Sequence[Tensor]) -> Sequence[Tensor]:
        """Those of the first part."""
        return self.parts[0].answers(logits)

    def criterion(self) -> Criterion | None:
        """The first that a part has."""
        return next((found for found in (part.criterion() for part in self.parts) if found is not None), None)

    def check(self, exits: int) -> None:
        """See `ExitLoss.check`."""
        for part in self.parts:
            part.check(exits)

    def begins(self, model: nn.Module) -> None:
        """See `ExitLoss.begins`."""
        for part in self.parts:
            part.begins(model)


def modules_of(loss: ExitLoss) -> list[nn.Module]:
    """What in a loss has parameters: itself, or parts of a `Sum`."""
    if isinstance(loss, Sum):
        return [module for part in loss.parts for module in modules_of(part)]
    return [loss] if isinstance(loss, nn.Module) else []


def on_cross_entropy(loss: ExitLoss, change: Callable[[WeightedCrossEntropy], ExitLoss], owner: str) -> ExitLoss:
    """The same loss with its weighted cross-entropy replaced by what `change` makes of it.

    Raises:
        TrainingError: there is none in it; names the regime that wanted it.
    """
    if isinstance(loss, WeightedCrossEntropy):
        return change(loss)
    if isinstance(loss, Sum):
        return Sum((on_cross_entropy(loss.parts[0], change, owner), *loss.parts[1:]))
    raise TrainingError(
        f"{owner}(base=...): the base's loss is {type(loss).__name__}, and a weighted cross-entropy is needed to build "
        f"on. Put {owner} inside of the other regime, or leave one of the two out."
    )
