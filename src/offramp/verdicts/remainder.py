"""Where the time goes that the arithmetic does not explain: exits taken against the sum of their parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from offramp.errors import CutError
from offramp.latency import Call, Laps
from offramp.runtimes import OneGraphRuntime, Program, Runtime, StagedRuntime
from offramp.segments import Plan

ALL_ROWS = ", all rows"
MOST_FULL = 8
"""How many full batches tell the time of a segment on all rows."""


@dataclass(frozen=True)
class Remainder:
    """Seconds of one batch, at one batch size. `measured = linear + small_batches + gates + gathers + rest`.

    Attributes:
        measured: the runtime.
        linear: the linear bound: each segment's time on a full batch x the share of the rows that reaches it.
        small_batches: what the segments take more on the rows that really reach them, because small batches cost more
            per row: the segment-cost bound less the linear bound.
        gates: scores of the criterion, at every stop but the last. Compiled segments contain their gates; there it is
            0, and the gates are in both bounds.
        gathers: all between the segments: checking the inputs, who leaves, taking the rows that go on, writing back. Of
            one graph only what is outside it: checking the inputs, and making decisions of what it gives.
        rest: what is left, below 0 where the parts took longer alone than together, as they do beside one graph.
    """

    measured: float
    linear: float
    small_batches: float
    gates: float
    gathers: float
    rest: float

    @property
    def of_linear(self) -> float:
        """Share of the linear bound's speed that is reached: 1 where taking exits costs nothing beside its segments."""
        return self.linear / self.measured

    @property
    def of_segments(self) -> float:
        """Share of the segment-cost bound's speed that is reached."""
        return (self.linear + self.small_batches) / self.measured

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "of_linear": self.of_linear, "of_segments": self.of_segments}


@dataclass(frozen=True, eq=False)
class Passing:
    """What a segment was given, and what it gave."""

    given: Sequence[Tensor]
    out: Sequence[Tensor]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.out[0].shape[0])


class Anatomy:
    """A runtime taken apart: every segment and gate alone on the rows that reach it, and everything else without them.

    Args:
        staged: the runtime, segment by segment.
        batches: inputs, each with the same number of rows.
        gated: whether the gates can be told from the segments.
        whole: the runtime that is measured, where it is one graph.
    """

    def __init__(
        self, staged: StagedRuntime, batches: Sequence[Any], gated: bool, whole: OneGraphRuntime | None = None
    ) -> None:
        self.whole = whole
        self.staged = staged
        self.batches = batches
        self.gated = gated
        self.stops = range(len(staged.programs))
        self.taken = [passings(staged, inputs) for inputs in batches]
        strict = replace(staged.plan, thresholds=(math.inf,) * len(staged.plan.thresholds))
        closed = with_programs(staged, staged.programs, strict)
        self.full = [passings(closed, inputs) for inputs in batches[:MOST_FULL]]

    @classmethod
    def of(cls, runtime: Runtime, batches: Sequence[Any], backend: str) -> Anatomy | None:
        """Of any runtime; None where its model has no stages."""
        try:
            whole = runtime if isinstance(runtime, OneGraphRuntime) else None
            return cls(runtime.staged(), batches, gated=backend == "eager", whole=whole)
        except CutError:
            return None

    def calls(self) -> dict[str, Sequence[Call]]:
        """What is to be timed, by name: `gathers`, and for each stop k that somebody reaches `segment k`, `gate k`.

        Where fewer rows than all arrive, also `segment k, all rows` and `gate k, all rows`.
        """
        calls: dict[str, Sequence[Call]] = {"gathers": [self._hollow(i) for i in range(len(self.batches))]}
        rows = self.full[0][0].rows
        for k in self.stops:
            arrived = self._arrived(k)
            if not arrived:
                continue
            calls |= self._parts(k, "", arrived)
            if any(passing.rows < rows for passing in arrived):
                calls |= self._parts(k, ALL_ROWS, [passing[k] for passing in self.full])
        return calls

    def reaching(self) -> list[float]:
        """Share of the rows that reaches each segment."""
        rows = sum(taken[0].rows for taken in self.taken)
        return [sum(passing.rows for passing in self._arrived(k)) / rows for k in self.stops]

    def remainder(self, laps: Mapping[str, Laps], measured: Laps) -> Remainder:
        """From the times of `calls()`, and those of the runtime on the batches."""
        return remainder(laps, measured, self.reaching())

    def _arrived(self, k: int) -> list[Passing]:
        return [taken[k] for taken in self.taken if len(taken) > k]

    def _parts(self, k: int, suffix: str, arrived: Sequence[Passing]) -> dict[str, Sequence[Call]]:
        parts: dict[str, Sequence[Call]] = {f"segment {k}{suffix}": [self._segment(k, passing) for passing in arrived]}
        if self.gated and k < self.stops[-1]:
            parts[f"gate {k}{suffix}"] = [self._gate(k, passing) for passing in arrived]
        return parts

    def _segment(self, k: int, passing: Passing) -> Call:
        program, given = self.staged.programs[k], passing.given
        return _without_gradients(lambda: program(*given))

    def _gate(self, k: int, passing: Passing) -> Call:
        policy, exit, reads = self.staged.policy, self.staged.plan.stops[k], self.staged.plan.uses_earlier
        logits, earlier = (passing.out[-1], passing.given[len(passing.given) - k :]) if reads else (passing.out[0], ())
        return _without_gradients(lambda: policy.judge(exit, logits, earlier))

    def _hollow(self, i: int) -> Call:
        """The runtime with segments, or a graph, that know their answers."""
        if self.whole is not None:
            known = self.whole(self.batches[i])
            hollow, given = OneGraphRuntime(_answering((known.logits, known.exits)), self.staged), self.batches[i]
            return lambda: hollow(given).predictions.cpu()
        programs = [_answering(passing.out) for passing in self.taken[i]]
        # Where all rows have left, the segments behind are not asked.
        unasked = [_answering(())] * (len(self.stops) - len(programs))
        runtime, inputs = with_programs(self.staged, [*programs, *unasked]), self.batches[i]
        return lambda: runtime(inputs).predictions.cpu()


def remainder(laps: Mapping[str, Laps], measured: Laps, reaching: Sequence[float]) -> Remainder:
    """Divides the measured time.

    Args:
        laps: times by the names of `Anatomy.calls`, one request for each batch that arrives.
        measured: times of the runtime, one request per batch.
        reaching: share of the rows that reaches each segment.
    """
    batches = measured.requests

    def seconds(name: str) -> float:
        return laps[name].median / batches if name in laps else 0.0

    def on_all_rows(name: str) -> float:
        found = laps.get(name + ALL_ROWS) or laps.get(name)
        return found.median / found.requests if found else 0.0

    stops = range(len(reaching))
    full = [on_all_rows(f"segment {k}") - on_all_rows(f"gate {k}") for k in stops]
    linear = sum(share * time for share, time in zip(reaching, full, strict=True))
    gates = sum(seconds(f"gate {k}") for k in stops)
    segments = sum(seconds(f"segment {k}") for k in stops) - gates
    gathers, total = seconds("gathers"), measured.median / batches
    return Remainder(total, linear, segments - linear, gates, gathers, total - segments - gates - gathers)


def with_programs(staged: StagedRuntime, programs: Sequence[Program], plan: Plan | None = None) -> StagedRuntime:
    """The same runtime over other programs, and under another plan where one is given."""
    return StagedRuntime(plan or staged.plan, programs, staged.names, staged.entrance, staged.backend)


def passings(staged: StagedRuntime, inputs: Any) -> list[Passing]:
    """What goes through each segment that somebody reaches when the runtime decides these inputs."""
    seen: list[Passing] = []

    def witnessed(program: Program) -> Program:
        def run(*tensors: Tensor) -> Sequence[Tensor]:
            # Kept as they come in, since a segment may overwrite them.
            given = [t.clone() for t in tensors]
            seen.append(Passing(given, program(*tensors)))
            return seen[-1].out

        return run

    with_programs(staged, [witnessed(program) for program in staged.programs])(inputs)
    return seen


def _answering(out: Sequence[Tensor]) -> Program:
    return lambda *tensors: out


def _without_gradients(call: Callable[[], Any]) -> Call:
    return torch.no_grad()(call)
