"""What has been written, read back and made to run: an export is checked by its files, not by what made them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from offramp.decisions import Decisions
from offramp.runtimes import Program, StagedRuntime
from offramp.segments import Plan

Decide = Callable[[Any], Decisions]
"""Inputs of the model in, decisions out."""


@dataclass(frozen=True)
class Artefact:
    """Something that decides.

    Attributes:
        name: "segments" or "graph".
        under: makes it decide by the thresholds of another plan, with the same stops.
        executed: gives the exits whose segments run under a plan, for some inputs.
    """

    name: str
    under: Callable[[Plan], Decide]
    executed: Callable[[Plan, Any], tuple[int, ...]]


def staged_artefact(runtime: StagedRuntime) -> Artefact:
    """Programs that a runtime runs one by one."""

    def under(plan: Plan) -> Decide:
        return StagedRuntime(plan, runtime.programs, runtime.names, runtime.entrance, runtime.backend)

    def executed(plan: Plan, inputs: Any) -> tuple[int, ...]:
        ran: list[int] = []
        programs = [_noting(p, k, ran) for p, k in zip(runtime.programs, runtime.plan.stops, strict=True)]
        StagedRuntime(plan, programs, runtime.names, runtime.entrance, runtime.backend)(inputs)
        return tuple(ran)

    return Artefact("segments", under, executed)


def with_thresholds(plan: Plan, thresholds: Sequence[float]) -> Plan:
    """The same plan with other thresholds."""
    return replace(plan, thresholds=tuple(thresholds))


def _noting(program: Program, exit: int, ran: list[int]) -> Program:
    def run(*tensors: Tensor) -> Sequence[Tensor]:
        ran.append(exit)
        return program(*tensors)

    return run
