"""`deploy`: a model and a policy become a runtime."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from offramp.exit_model import ExitModel
from offramp.policy import Policy, always
from offramp.runtimes.autotuning import lowered, tuned
from offramp.runtimes.backends.check import check_graph
from offramp.runtimes.eager import EagerRuntime
from offramp.runtimes.form import Form, FormingEntrance
from offramp.runtimes.one_graph import IN_ONE_GRAPH, OneGraphRuntime, in_one_graph
from offramp.runtimes.onnx_segments import in_onnx
from offramp.runtimes.refusing import RefusingRuntime
from offramp.runtimes.runtime import Runtime
from offramp.runtimes.staged import StagedRuntime
from offramp.runtimes.tuning import Tuning
from offramp.segments import Plan, Segment, segments_of

REFUSED_AT = (1, 8, 64, 256)
"""Batch sizes at which `refuse` measures where none are given."""


def deploy(
    model: ExitModel,
    policy: Policy,
    backend: str = "eager",
    *,
    dtype: torch.dtype | None = None,
    channels_last: bool = False,
    batch_sizes: Sequence[int] | None = None,
    tuning: Tuning | None = None,
    refuse: bool = False,
    data: Any = None,
) -> Runtime:
    """Puts a model to work under a policy.

    The model is set to evaluation mode. Inputs must be on its device.

    Args:
        model: from `attach`.
        policy: from `calibrate(...).unwrap()`, made by hand, or `always(exit=...)`.
        backend: "eager" runs the model itself, as it is at each call. "compile", "aoti", "onnxruntime" and "openvino"
            run a copy that is compiled now, checked against the model, and does not follow it when it changes;
            "cudagraphs" records one on a GPU. "auto" makes all that can run here, measures them, and takes for every
            segment and batch size the fastest.
        dtype: torch.float16 or torch.bfloat16 to run a copy in half precision; inputs are converted, the gate computes
            in fp32. Decisions are then no longer exactly those that the policy was calibrated on.
        channels_last: run a copy whose images are laid out with their channels last; inputs are converted.
        batch_sizes: that are to be expected: programs are warmed up at them, "auto" and `refuse` measure at them.
        tuning: for "auto": what an earlier runtime measured (its `.tuning`). It is used if it was measured on such a
            machine, with as many threads and for the same segments; otherwise a warning says what differs.
        refuse: measure now at which batch sizes exits are slower than the plain network, and send batches of such sizes
            through the plain network. The decisions there are not the policy's; what that means for a certificate says
            `offramp.runtimes.refusing`.
        data: for `refuse`: inputs like those to come, see `offramp.samples.Samples.of`.

    Raises:
        PolicyError: the policy is for another number of exits, or there is no such backend.
        VerdictError: `refuse` without data, or impossible batch sizes.
        CutError: the model has no stages, which every backend but "eager" needs.
        InputError: an impossible dtype or batch size, or one of dtype and device that the backend does not take.
        MissingExtraError: the backend's packages, or a compiler, are not installed.
        ExportError: a part of the network has no form that the backend takes, or computes something else in it.
    """
    form = Form(dtype, channels_last)
    formed = form.model(model.eval())
    exits = _runtime(formed, policy, backend, form, batch_sizes, tuning)
    if not refuse:
        return exits
    plain = _runtime(formed, always(exit=model.exits - 1), backend, form, batch_sizes, None)
    return RefusingRuntime.measured(model, exits, plain, data, batch_sizes or REFUSED_AT)


def _runtime(
    model: ExitModel,
    policy: Policy,
    backend: str,
    form: Form,
    batch_sizes: Sequence[int] | None,
    tuning: Tuning | None,
) -> Runtime:
    if backend == "eager":
        return EagerRuntime(model, policy, form)
    plan = Plan.of(model, policy)
    segments = _segments(model, plan, form)
    names, entrance = [s.name for s in segments], FormingEntrance.into(model, form)
    if backend == "auto":
        programs, tuning = tuned(segments, form.channels_last, batch_sizes, tuning)
        return StagedRuntime(plan, programs, names, entrance, backend, tuning)
    parts = in_onnx(backend, copy.deepcopy(segments)) if backend in IN_ONE_GRAPH else None
    programs = lowered(backend, segments, batch_sizes or (), parts)
    staged = StagedRuntime(plan, programs, names, entrance, backend)
    return staged if parts is None else _checked(in_one_graph(staged, parts), segments)


def _checked(runtime: Runtime, segments: Sequence[Segment]) -> Runtime:
    if isinstance(runtime, OneGraphRuntime):
        staged = runtime.staged()

        def stage_by_stage(*tensors: Tensor) -> tuple[Tensor, Tensor]:
            decisions = staged.decided(tensors)
            return decisions.logits, decisions.exits

        check_graph(segments, runtime.graph, stage_by_stage, runtime.backend)
    return runtime


def _segments(model: ExitModel, plan: Plan, form: Form) -> tuple[Segment, ...]:
    segments = segments_of(model, plan)
    # Later segments' examples are laid out as the network leaves them; the first one's comes from the model's example.
    segments[0].example = tuple(form.tensor(x) for x in segments[0].example)
    return segments
