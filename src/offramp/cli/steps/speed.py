"""Measures the deployed network against the plain one, on samples that leave like the whole test split does.

Where ONNX Runtime is installed and takes the model, both networks are timed under it too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import offramp as ofr
from offramp.errors import CutError, OfframpError
from offramp.latency import Call, Network, Timing, measure_requests, requests
from offramp.reporters.results import Source, Speed
from offramp.runtimes import Runtime
from offramp.samples import representative
from offramp.verdicts import networks

ROUNDS = 12


@dataclass(frozen=True)
class Case:
    """What is timed: so many samples, in batches of so many, call by call or as a stream."""

    batch: int
    samples: int
    streamed: bool = False
    backend: str = "eager"


FAST = "onnxruntime"
CASES = (
    Case(1, 64),
    Case(256, 256),
    Case(256, 2048, streamed=True),
    Case(1, 64, backend=FAST),
    Case(256, 256, backend=FAST),
)


def measure_speed(
    model: ofr.ExitModel, policy: ofr.Policy, inputs: Tensor, exits: Tensor, source: Source
) -> tuple[Speed, ...]:
    """Times both networks in every case of `CASES`, in turns; each call ends with its answers on the CPU.

    Args:
        model: in evaluation mode, on its device.
        policy: to deploy.
        inputs: `[n, ...]`, of the split.
        exits: `[n]`, the exit that each takes.
        source: of the split; its sample count is replaced by the number of timed samples.
    """
    found = []
    pairs = {backend: _networks(model, policy, backend) for backend in ("eager", FAST)}
    for case in CASES:
        pair = pairs[case.backend]
        if pair is None or (case.streamed and not _has_stages(pair[0])):
            continue
        runtime, plain = pair
        rows = representative(exits, min(case.samples, len(exits)), model.exits, source.seed or 0)
        batches = model.to_own_device(inputs[rows]).split(case.batch)
        taking = (
            [_stream(runtime, batches, case.batch)]
            if case.streamed
            else requests(networks.taking_exits(runtime), batches)
        )
        calls = {"plain": requests(plain, batches), "exits": taking}
        laps = {
            name: Timing.of(lap.totals) for name, lap in measure_requests(calls, ROUNDS, device=model.device).items()
        }
        timed = Source(source.split, len(rows), source.seed, source.device)
        shares = torch.bincount(exits[rows], minlength=model.exits) / len(rows)
        threads = torch.get_num_threads()
        found.append(
            Speed.of(timed, case.batch, threads, shares.tolist(), **laps, streamed=case.streamed, backend=case.backend)
        )
    return tuple(found)


def _networks(model: ofr.ExitModel, policy: ofr.Policy, backend: str) -> tuple[Runtime, Network] | None:
    """With exits, and plain; None where the backend is not installed or does not take the model."""
    try:
        return ofr.deploy(model, policy, backend=backend), networks.plain(model, backend)
    except OfframpError:
        if backend == "eager":
            raise
        return None


def _has_stages(runtime: Runtime) -> bool:
    try:
        runtime.staged()
    except CutError:
        return False
    return True


def _stream(runtime: Runtime, batches: tuple[Tensor, ...], batch: int) -> Call:
    return lambda: [decided.predictions.cpu() for decided in runtime.stream(batches, target=batch)]
