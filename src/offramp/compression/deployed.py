"""What a loop watches where the network is deployed with its exits: accuracy as it is then, not that of the last exit.

Both metrics are the `validate` of `compress`, for a model with exits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from offramp.calibrators import Infeasible, calibrate
from offramp.compression.controller import Controller
from offramp.criteria import Criterion, MaxProbability
from offramp.errors import CompressionError
from offramp.exit_model import ExitModel
from offramp.goals import MACBudget
from offramp.policy import Policy
from offramp.recording import Recording, record, simulate


@dataclass(frozen=True)
class Deployed(ABC):
    """Share of the samples that are answered rightly when exits are taken.

    Args:
        loader: batches of `(inputs, labels)` of the validation split.
    """

    loader: Iterable[Any]

    @abstractmethod
    def policy_for(self, recording: Recording) -> Policy:
        """The policy under which exits are taken.

        Args:
            recording: of the validation split, with the costs of the model as it would be shipped.

        Raises:
            CompressionError: there is none.
        """

    @abstractmethod
    def describe(self) -> str:
        """What is measured, in words."""

    def __call__(self, model: nn.Module, epoch: int = 0, controller: Controller | None = None) -> float:
        """Accuracy, a share in [0, 1].

        Args:
            model: with exits.
            epoch: is not used.
            controller: of its compression; None where it is not compressed.

        Raises:
            CompressionError: the model has no exits, or no policy is possible.
        """
        recording = self._recorded(model, controller)
        return simulate(recording, self.policy_for(recording)).accuracy(recording.required_labels)

    def _recorded(self, model: nn.Module, controller: Controller | None) -> Recording:
        return record(with_exits(model), self.loader)


@dataclass(frozen=True)
class DeployedAccuracy(Deployed):
    """Under a policy that stays as it is.

    Args:
        loader: see `Deployed`.
        policy: with a threshold per early exit.
    """

    policy: Policy

    def policy_for(self, recording: Recording) -> Policy:
        """See `Deployed.policy_for`."""
        return self.policy

    def describe(self) -> str:
        """See `Deployed.describe`."""
        return "accuracy with exits taken by a fixed policy"


@dataclass(frozen=True)
class BudgetedAccuracy(Deployed):
    """At a budget of MACs: thresholds are chosen anew for every model, so that the mean over the samples keeps it.

    What compressing saves can be spent on later exits. Removed channels are still made while a model trains, so costs
    are those of the model stripped. The thresholds are chosen on the samples that they are judged on, before and after
    compressing alike.

    Args:
        loader: see `Deployed`.
        macs: budget per sample, heads included.
        criterion: what is compared with the thresholds.
    """

    macs: float
    criterion: Criterion = field(default_factory=MaxProbability)

    def policy_for(self, recording: Recording) -> Policy:
        """See `Deployed.policy_for`."""
        outcome = calibrate(recording, self.criterion, MACBudget(macs=self.macs))
        if isinstance(outcome, Infeasible):
            raise CompressionError(outcome.reason)
        return outcome.policy

    def describe(self) -> str:
        """See `Deployed.describe`."""
        return f"accuracy with exits taken at {self.macs:,.0f} mean MACs"

    def _recorded(self, model: nn.Module, controller: Controller | None) -> Recording:
        found = super()._recorded(model, controller)
        if controller is None:
            return found
        cost = with_exits(controller.strip()).cost
        return Recording(found.logits, found.labels, cost.macs, cost.head_macs, found.meta)


def with_exits(model: nn.Module) -> ExitModel:
    """The same model, known to have exits.

    Raises:
        CompressionError: it has none.
    """
    if not isinstance(model, ExitModel):
        raise CompressionError(
            f"A {type(model).__name__} takes no exits, so that nothing is deployed with them: compress one that "
            "offramp.attach gave, or watch the accuracy itself."
        )
    return model
