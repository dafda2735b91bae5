"""Measures what leaving at each exit takes, so that a budget can be one of time."""

from __future__ import annotations

from typing import Any

import torch

from offramp.criteria import MaxProbability
from offramp.errors import InputError
from offramp.exit_model import ExitModel
from offramp.latency import Call, ExitTimes, measure
from offramp.policy import NEVER, Policy, always
from offramp.runtimes.deploying import deploy
from offramp.samples import Samples

ROUNDS = 30
OUT_OF_REACH = 2.0
"""A threshold above every probability: the exit is asked, and nobody leaves."""


def exit_times(
    model: ExitModel, inputs: Any, *, batch: int = 1, backend: str = "eager", rounds: int = ROUNDS
) -> ExitTimes:
    """Measures the mean time per sample of leaving at each exit, and what asking an exit in passing adds.

    The plain network, each exit alone and each exit asked in passing take turns; medians count. All samples of a call
    leave together here. In a batch of which some leave, the others go on in a smaller batch, where a sample takes
    longer: beyond batch 1 the mean time that follows from these is a lower estimate, see `offramp.verdict` for what a
    policy really takes.

    Args:
        model: in evaluation mode, on the device that counts.
        inputs: as the model takes them; with at least `batch` rows, of which the first are used.
        batch: number of samples per call.
        backend: what runs the network, see `deploy`.
        rounds: how often everything is timed.

    Raises:
        InputError: fewer rows than `batch`, or a batch size below 1.
    """
    samples = Samples.of(model, inputs)
    if not 1 <= batch <= len(samples):
        raise InputError(f"exit_times(batch={batch}): there are {len(samples)} rows; give a batch size of 1 to that.")
    rows = model.to_own_device(samples.take(torch.arange(batch)))
    calls = {name: _call(model, policy, backend, rows) for name, policy in _policies(model.exits - 1).items()}
    with torch.no_grad():
        found = measure(calls, rounds=rounds, device=model.device)
    seconds = {name: timing.median / batch for name, timing in found.items()}
    return _times(seconds, model.exits, batch, str(model.device))


def _policies(early: int) -> dict[str, Policy]:
    """Leaving at exit k ("leave k"; the last is the plain network), and passing it ("pass k")."""
    leaving = {f"leave {k}": always(exit=k) for k in range(early + 1)}
    return leaving | {f"pass {k}": _passing(k, early) for k in range(early)}


def _passing(exit: int, early: int) -> Policy:
    """Asks one exit, where nobody leaves."""
    return Policy(MaxProbability(), [OUT_OF_REACH if k == exit else NEVER for k in range(early)])


def _call(model: ExitModel, policy: Policy, backend: str, rows: Any) -> Call:
    runtime = deploy(model, policy, backend=backend)
    return lambda: runtime(rows).predictions.cpu()


def _times(seconds: dict[str, float], exits: int, batch: int, device: str) -> ExitTimes:
    plain = seconds[f"leave {exits - 1}"]
    # Noise can make a head seem to save time.
    heads = [max(seconds[f"pass {k}"] - plain, 0.0) for k in range(exits - 1)]
    leaving = [seconds[f"leave {k}"] + sum(heads[:k]) for k in range(exits)]
    return ExitTimes(tuple(leaving), tuple(heads), batch, device)
