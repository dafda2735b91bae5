"""What the exits learn from: the labels, by Distiller's weights, and a teacher where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

import offramp as ofr
from offramp.cli.steps.classification.outcomes import TOP
from offramp.regimes import ExitLoss, Joint, Losses, Phase, Regime, Step, WeightedCrossEntropy
from offramp.regimes.losses import FIRST


class Meter:
    """Means of an epoch so far, of all samples at every exit; sums stay on the device until they are read.

    Args:
        exits: number of them, the final one included.
    """

    def __init__(self, exits: int) -> None:
        self.exits = exits
        self.begin()

    def begin(self) -> None:
        """Begins an epoch."""
        self._samples = 0
        self._sums: Tensor | None = None

    def add(self, total: Tensor, logits: Sequence[Tensor], labels: Tensor) -> None:
        """Counts a batch: its loss, and per exit `[n, classes]` logits against `[n]` labels."""
        stacked = torch.stack([z.detach() for z in logits])
        hits = stacked.topk(min(TOP, stacked.shape[-1]), dim=-1).indices == labels[:, None]
        counted = torch.stack([hits[..., 0].sum(dim=1), hits.any(dim=-1).sum(dim=1)])
        sums = torch.cat([total.detach().float().view(1) * len(labels), counted.flatten().float()]).double()
        self._sums = sums if self._sums is None else self._sums + sums
        self._samples += len(labels)

    def values(self) -> dict[str, float]:
        """Names and means in Distiller's order; reading them waits for the device."""
        if self._sums is None:
            return {}
        loss, *hits = (self._sums / self._samples).tolist()
        named = {"Overall Loss": loss, "Objective Loss": loss}
        for k in range(self.exits):
            exit = f"_exit{k}" if self.exits > 1 else ""
            named |= {f"Top1{exit}": 100 * hits[k], f"Top5{exit}": 100 * hits[self.exits + k]}
        return named


@dataclass(frozen=True)
class Lesson:
    """How a teacher is listened to.

    `total = student sum_i w_i CE_i + distill sum_i w_i KL(softmax(teacher / T) || softmax(exit_i / T))`, in nats,
    averaged over the batch; w_i are the exits' weights, and the teacher's answer is that of its final exit.

    Source: Distiller's policy of knowledge distillation, without Hinton's factor T^2. Differs in that every exit learns
    from the teacher.

    Attributes:
        temperature: T.
        distill: weight of the teacher's answers.
        student: weight of the labels.
        start: epoch, counted from 0, with which it begins; before, there are the labels only.
    """

    temperature: float
    distill: float
    student: float
    start: int

    def total(self, weights: Sequence[float], logits: Sequence[Tensor], taught: Tensor, own: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            weights: of the exits.
            logits: `[n, classes]` of each.
            taught: `[n, classes]`, the teacher's.
            own: scalar, the weighted loss against the labels.
        """
        target = (taught / self.temperature).log_softmax(dim=-1)
        parts = [
            w * F.kl_div((z / self.temperature).log_softmax(dim=-1), target, reduction="batchmean", log_target=True)
            for w, z in zip(weights, logits, strict=True)
        ]
        return self.student * own + self.distill * torch.stack(parts).sum()


@dataclass(frozen=True)
class Classification(Regime):
    """One phase: every exit learns by its weight, the final one by what is left to 1.

    Args:
        weights: of the early exits' losses, earliest first.
        meter: is told of every step.
        lesson: how to learn from the teacher; None without one.
        teacher: a trained network, on the device where training runs, in evaluation mode; None without a lesson.
    """

    weights: tuple[float, ...]
    meter: Meter
    lesson: Lesson | None = None
    teacher: ofr.ExitModel | None = None

    def phases(self, model_exits: int, epochs: int) -> tuple[Phase, ...]:
        """See `Regime.phases`."""
        return (Phase(name="joint", epochs=epochs, loss=Measured(self, Joint(self.weights).exit_weights(model_exits))),)

    def to_dict(self) -> dict[str, Any]:
        """What decides the outcome, to recognise a run that is resumed."""
        lesson = None if self.lesson is None else dict(self.lesson.__dict__)
        return {"name": "classification", "weights": list(self.weights), "lesson": lesson}


class Measured(ExitLoss):
    """The loss of `Classification`; also tells the meter.

    Args:
        regime: whose loss it is.
        weights: of all exits.
    """

    def __init__(self, regime: Classification, weights: tuple[float, ...]) -> None:
        self.regime = regime
        self.weights = weights
        self.labels_only = WeightedCrossEntropy(weights)

    def __call__(self, logits: Sequence[Tensor], labels: Tensor, step: Step = FIRST) -> Losses:
        """See `offramp.regimes.ExitLoss`."""
        losses = self.labels_only(logits, labels)
        lesson, teacher = self.regime.lesson, self.regime.teacher
        if lesson is not None and teacher is not None and step.epoch >= lesson.start:
            with torch.no_grad():
                taught = teacher(step.inputs)[-1]
            losses = Losses(lesson.total(self.weights, logits, taught, losses.total), losses.exits)
        self.regime.meter.add(losses.total, logits, labels)
        return losses

    def check(self, exits: int) -> None:
        """See `offramp.regimes.ExitLoss.check`."""
        self.labels_only.check(exits)
