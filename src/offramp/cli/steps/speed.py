"""Measures the deployed network against the plain one, on samples that leave like the whole test split does."""

from __future__ import annotations

import torch
from torch import Tensor

import offramp as ofr
from offramp.latency import Timing, measure_requests, requests
from offramp.reporters.results import Source, Speed
from offramp.samples import representative
from offramp.verdicts import networks

SAMPLES = {1: 64, 256: 256}
"""How many samples are timed, by batch size."""
ROUNDS = 12


def measure_speed(
    model: ofr.ExitModel, policy: ofr.Policy, inputs: Tensor, exits: Tensor, source: Source
) -> tuple[Speed, ...]:
    """Times both networks at every batch size of `SAMPLES`, in turns; each call ends with its answers on the CPU.

    Args:
        model: in evaluation mode, on its device.
        policy: to deploy.
        inputs: `[n, ...]`, of the split.
        exits: `[n]`, the exit that each takes.
        source: of the split; its sample count is replaced by the number of timed samples.
    """
    compared = {"plain": networks.plain(model, "eager"), "exits": networks.taking_exits(ofr.deploy(model, policy))}
    found = []
    for batch, wanted in SAMPLES.items():
        rows = representative(exits, min(wanted, len(exits)), model.exits, source.seed or 0)
        chosen = model.to_own_device(inputs[rows])
        calls = {name: requests(network, chosen.split(batch)) for name, network in compared.items()}
        laps = measure_requests(calls, ROUNDS, device=model.device)
        timed = Source(source.split, len(rows), source.seed, source.device)
        shares = torch.bincount(exits[rows], minlength=model.exits) / len(rows)
        plain, exits_taken = (Timing.of(laps[name].totals) for name in compared)
        found.append(Speed.of(timed, batch, torch.get_num_threads(), shares.tolist(), plain, exits_taken))
    return tuple(found)
