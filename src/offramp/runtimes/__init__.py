"""How exits are taken: a runtime turns inputs into decisions and runs no stage for nobody.

To add one: a new file here with a class that has `__call__(inputs) -> Decisions`, and its name in `deploy`.
"""

from __future__ import annotations

from offramp.exit_model import ExitModel
from offramp.policy import Policy
from offramp.runtimes.eager import EagerRuntime

__all__ = ["EagerRuntime", "deploy"]


def deploy(model: ExitModel, policy: Policy) -> EagerRuntime:
    """Puts a model to work under a policy.

    The model is set to evaluation mode. Inputs must be on its device.

    Args:
        model: from `attach`.
        policy: from `calibrate(...).unwrap()`, made by hand, or `always(exit=...)`.

    Raises:
        PolicyError: the policy is for another number of exits.
    """
    return EagerRuntime(model.eval(), policy)
