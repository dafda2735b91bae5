"""The contract of a runtime: inputs in, decisions out, in the order of the inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from offramp.decisions import Decisions
from offramp.policy import Policy
from offramp.segments import Plan

if TYPE_CHECKING:
    from offramp.runtimes.staged import StagedRuntime


class Runtime(ABC):
    """Takes exits. Every call stands alone, so that one runtime serves several threads.

    Attributes:
        plan: its policy, laid out for its model.
    """

    plan: Plan

    @property
    def policy(self) -> Policy:
        """What decides who leaves."""
        return self.plan.policy

    @abstractmethod
    def __call__(self, inputs: Any) -> Decisions:
        """Decides one batch.

        Raises:
            InputError: the inputs do not fit the model: empty batch, other structure, dtype or device.
            StageError: a part of the network failed, for instance for want of memory. The runtime stays usable.
        """

    @abstractmethod
    def staged(self) -> StagedRuntime:
        """The same decisions from programs that run segment by segment, as streaming needs it.

        Raises:
            CutError: the model has no stages.
        """
