"""Cascaded heads: each early exit also reads the logits of the one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from offramp.criteria import Cascade, Criterion, MaxProbability
from offramp.errors import TrainingError
from offramp.regimes.geometric_ensembling import GeometricEnsembling
from offramp.regimes.losses import FIRST, ExitLoss, Losses, Step, modules_of
from offramp.regimes.phase import Phase
from offramp.regimes.regime import Regime, Wrapping, register


class CascadeLoss(nn.Module, ExitLoss):
    """The inner loss of `a_0 = z_0`, `a_m = z_m + C_m detached a_(m-1)` at the early exits; the last keeps its logits.

    C_m are matrices `[classes, classes]` that train along, from zero on.

    Args:
        inner: a loss of logits alone.
    """

    def __init__(self, inner: ExitLoss) -> None:
        super().__init__()
        self.inner = inner
        self.within = nn.ModuleList(modules_of(inner))
        self.connections = nn.ParameterList()

    @property
    def features(self) -> bool:  # type: ignore[override]
        """As the inner loss."""
        return self.inner.features

    def begins(self, model: nn.Module) -> None:
        """Makes the connections for the model's classes."""
        self.inner.begins(model)
        classes, early = int(model.num_classes), int(model.exits) - 1  # type: ignore[arg-type]
        self.connections = nn.ParameterList(torch.zeros(classes, classes) for _ in range(early - 1))

    def forward(self, logits: Sequence[Tensor], labels: Tensor, step: Step = FIRST) -> Losses:
        """See `ExitLoss`."""
        return self.inner(self._completed(logits), labels, step)

    def answers(self, logits: Sequence[Tensor]) -> Sequence[Tensor]:
        """Those of the inner loss on the completed logits."""
        return self.inner.answers(self._completed(logits))

    def criterion(self) -> Criterion:
        """The cascade as it is now, around the inner loss's criterion."""
        matrices = tuple(tuple(map(tuple, matrix.detach().cpu().tolist())) for matrix in self.connections)
        return Cascade(self.inner.criterion() or MaxProbability(), matrices)

    def check(self, exits: int) -> None:
        """See `ExitLoss.check`."""
        self.inner.check(exits)
        if exits < 3:
            raise TrainingError(
                f"CascadedHeads connects early exits, and a model of {exits} exits has {exits - 1} of them: attach at "
                "least two."
            )

    def _completed(self, logits: Sequence[Tensor]) -> list[Tensor]:
        found = [logits[0]]
        for own, matrix in zip(logits[1:-1], self.connections, strict=True):
            found.append(own + found[-1].detach().to(matrix.dtype) @ matrix.T)
        return [*found, logits[-1]]


ENSEMBLE = GeometricEnsembling()


@register
@dataclass(frozen=True)
class CascadedHeads(Wrapping):
    """Every early exit after the first completes its logits by a linear function of those of the exit before.

    With heads that end in a linear layer, this is the same as giving each head the earlier one's logits beside its
    features. Take the exits with the history's `criterion`, a `Cascade`; accuracies in the history are of what it
    answers.

    Args:
        base: the regime whose losses are of the completed logits instead; by default the geometric ensemble on a
            frozen backbone, which makes it Zero Time Waste.

    Source: Wolczyk et al. 2021 (Zero Time Waste), cascade connections. Differs in that the ensemble's members have
    equal weights; `offramp.train_ensemble` learns others.

    Example:
        >>> loss = CascadeLoss(Phase("p", epochs=1, trains="heads", loss=ENSEMBLE.phases(3, 2)[1].loss).loss)
        >>> loss.connections.append(torch.nn.Parameter(torch.eye(2)))
        ParameterList(  (0): Parameter containing: [torch.float32 of size 2x2])
        >>> loss.criterion().answer(torch.tensor([[0.0, 1.0]]), [torch.tensor([[1.0, 0.0]])]).argmax(dim=1)
        tensor([0])
    """

    base: Regime = ENSEMBLE

    def changed(self, phase: Phase, exits: int) -> Phase:
        """See `Wrapping.changed`."""
        return replace(phase, loss=CascadeLoss(phase.loss))
