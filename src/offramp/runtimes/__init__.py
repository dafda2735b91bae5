"""How exits are taken: a runtime turns inputs into decisions and runs no stage for nobody."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from offramp.exit_model import ExitModel
from offramp.policy import Policy, always
from offramp.runtimes.backends import backend as find_backend
from offramp.runtimes.backends.check import check_programs
from offramp.runtimes.eager import EagerRuntime
from offramp.runtimes.refusing import RefusingRuntime
from offramp.runtimes.runtime import Runtime
from offramp.runtimes.staged import Program, StagedRuntime
from offramp.segments import Entrance, Plan, segments_of

__all__ = ["EagerRuntime", "Program", "RefusingRuntime", "Runtime", "StagedRuntime", "deploy"]


def deploy(
    model: ExitModel,
    policy: Policy,
    backend: str = "eager",
    *,
    refuse: bool = False,
    data: Any = None,
    batch_sizes: Sequence[int] = (1, 8, 64, 256),
) -> Runtime:
    """Puts a model to work under a policy.

    The model is set to evaluation mode. Inputs must be on its device.

    Args:
        model: from `attach`.
        policy: from `calibrate(...).unwrap()`, made by hand, or `always(exit=...)`.
        backend: "eager" runs the model itself, as it is at each call. "compile", "aoti", "onnxruntime" and "openvino"
            run a copy that is compiled now, checked against the model, and does not follow it when it changes.
        refuse: measure now at which batch sizes exits are slower than the plain network, and send batches of such sizes
            through the plain network. The decisions there are not the policy's; what that means for a certificate says
            `offramp.runtimes.refusing`.
        data: for `refuse`: inputs like those to come, see `offramp.samples.Samples.of`.
        batch_sizes: for `refuse`: at which to measure.

    Raises:
        PolicyError: the policy is for another number of exits, or there is no such backend.
        VerdictError: `refuse` without data, or impossible batch sizes.
        CutError: the model has no stages, which every backend but "eager" needs.
        MissingExtraError: the backend's packages, or a compiler, are not installed.
        ExportError: a part of the network has no form that the backend takes, or computes something else in it.
    """
    if refuse:
        exits = deploy(model, policy, backend)
        plain = deploy(model, always(exit=model.exits - 1), backend)
        return RefusingRuntime.measured(model, exits, plain, data, batch_sizes)
    if backend == "eager":
        return EagerRuntime(model.eval(), policy)
    lower = find_backend(backend)
    plan = Plan.of(model.eval(), policy)
    segments = segments_of(model, plan)
    programs = lower(copy.deepcopy(segments))
    check_programs(segments, programs, backend)
    return StagedRuntime(plan, programs, [s.name for s in segments], Entrance.of(model), backend)
