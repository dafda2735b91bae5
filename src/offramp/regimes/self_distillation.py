"""Self-distillation: early exits learn from what a deeper exit of the same network answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from offramp.errors import TrainingError
from offramp.regimes.joint import JOINT
from offramp.regimes.losses import FIRST, ExitLoss, Losses, Step, Sum
from offramp.regimes.phase import Phase
from offramp.regimes.regime import Regime, Wrapping, register

TEACHERS = ("last", "next")


@dataclass(frozen=True)
class DistillationLoss(ExitLoss):
    """`total = weight T^2 mean_i KL(softmax(z_t / T) || softmax(z_i / T))` over the early exits i, t their teacher.

    The teacher gets no gradient from it.

    Args:
        teacher: "last": t is the final exit. "next": t = i + 1.
        weight: of the term.
        temperature: T, above 0.
    """

    teacher: str
    weight: float
    temperature: float

    def __call__(self, logits: Sequence[Tensor], labels: Tensor, step: Step = FIRST) -> Losses:
        """See `ExitLoss`."""
        soft = [F.log_softmax(z / self.temperature, dim=-1) for z in logits]
        teachers = soft[1:] if self.teacher == "next" else [soft[-1]] * (len(soft) - 1)
        pairs = zip(soft[:-1], teachers, strict=True)
        terms = [F.kl_div(own, to.detach(), reduction="batchmean", log_target=True) for own, to in pairs]
        total = self.weight * self.temperature**2 * torch.stack(terms).mean()
        return Losses(total=total, exits=torch.stack([*terms, terms[-1].new_zeros(())]).detach())

    def check(self, exits: int) -> None:
        """See `ExitLoss.check`."""
        if exits < 2:
            raise TrainingError("SelfDistillation needs an early exit that can learn from a deeper one: attach one.")


@register
@dataclass(frozen=True)
class SelfDistillation(Wrapping):
    """Adds a distillation term to the base's loss in every phase in which several exits learn.

    Args:
        base: the regime whose phases are changed.
        teacher: "last": every early exit learns from the final one; "next": from the one behind it.
        weight: of the term, see `DistillationLoss`.
        temperature: of both distributions; above 1, what the teacher holds possible counts more.

    Source: Phuong and Lampert 2019 (Distillation-Based Training for Multi-Exit Architectures) for the last exit as
    teacher; Li et al. 2019 (Improved Techniques for Training Adaptive Deep Networks) for the weight of 0.1. Differs in
    that the term is added to the base's loss, whichever that is.

    Example:
        >>> [type(part).__name__ for part in SelfDistillation().phases(3, epochs=2)[0].loss.parts]
        ['WeightedCrossEntropy', 'DistillationLoss']
    """

    base: Regime = JOINT
    teacher: str = "last"
    weight: float = 0.1
    temperature: float = 3.0

    def __post_init__(self) -> None:
        if self.teacher not in TEACHERS:
            raise TrainingError(f"SelfDistillation(teacher={self.teacher!r}): give {' or '.join(map(repr, TEACHERS))}.")
        for name in ("weight", "temperature"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise TrainingError(f"SelfDistillation({name}={value!r}): give a finite number above 0.")

    def changed(self, phase: Phase, exits: int) -> Phase:
        """See `Wrapping.changed`."""
        term = DistillationLoss(self.teacher, self.weight, self.temperature)
        return replace(phase, loss=Sum((phase.loss, term)))
