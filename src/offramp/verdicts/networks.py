"""The ways of running that a verdict compares, each as a function from inputs to logits."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from offramp.backbones import arguments, final_logits
from offramp.criteria import Always
from offramp.exit_model import ExitModel, attach
from offramp.latency import Network
from offramp.policy import NEVER, Policy, always
from offramp.runtimes import Runtime, deploy

UNREACHED = 1e30
"""A threshold that no score exceeds. Unlike `inf` it leaves the exit open: its head and its gate run."""


def plain(model: ExitModel, backend: str) -> Network:
    """The network without exits, run as the backend runs it."""
    if backend == "eager":
        return eagerly(model.backbone)
    return taking_exits(deploy(model, always(exit=model.exits - 1), backend=backend))


def eagerly(module: nn.Module) -> Network:
    """A module as it is."""

    @torch.no_grad()
    def run(inputs: Any) -> Tensor:
        args, named = arguments(inputs)
        return final_logits(module(*args, **named))

    return run


def taking_exits(runtime: Runtime) -> Network:
    """A runtime, of which only the logits are wanted."""
    return lambda inputs: runtime(inputs).logits


def smaller_network(module: nn.Module, example: Any, backend: str) -> Network:
    """Another network on the same inputs, run as the backend runs it.

    Args:
        module: without exits, or from `attach`.
        example: inputs with a few rows.
        backend: as for `deploy`. All but "eager" can only lower what can be cut.
    """
    module.eval()
    if isinstance(module, ExitModel):
        return plain(module, backend)
    return eagerly(module) if backend == "eager" else plain(attach(module, [0.5], example), backend)


def never_leaving(policy: Policy) -> Policy | None:
    """The policy under which the same heads and gates run and no row ever leaves; None where it has no open exit."""
    if isinstance(policy.criterion, Always) or all(math.isinf(t) and t > 0 for t in policy.thresholds):
        return None
    return replace(policy, thresholds=tuple(t if t == NEVER else UNREACHED for t in policy.thresholds))
