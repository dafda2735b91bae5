"""Measures the deployed network against the plain one, on samples that leave like the whole test split does."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import offramp as ofr
from offramp.latency import measure
from offramp.reporters.results import Source, Speed

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
    found = []
    for batch, wanted in SAMPLES.items():
        rows = representative(exits, min(wanted, len(exits)), model.exits, source.seed or 0)
        chosen = model.to_own_device(inputs[rows])
        timings = measure(_calls(model, policy, chosen.split(batch)), rounds=ROUNDS, device=model.device)
        timed = Source(source.split, len(rows), source.seed, source.device)
        shares = torch.bincount(exits[rows], minlength=model.exits) / len(rows)
        found.append(
            Speed.of(timed, batch, torch.get_num_threads(), shares.tolist(), timings["plain"], timings["exits"])
        )
    return tuple(found)


def representative(exits: Tensor, count: int, exit_count: int, seed: int) -> Tensor:
    """Indices `[count]`, in random order, of samples that take the exits in the proportions of all.

    Shares are rounded by largest remainders, so that they sum up exactly.

    Args:
        exits: `[n]`, the exit that each sample takes.
        count: how many, at most n.
        exit_count: number of exits.
        seed: of the choice.
    """
    generator = torch.Generator().manual_seed(seed)
    exact = torch.bincount(exits, minlength=exit_count).double() * count / len(exits)
    counts = exact.floor().long()
    largest = (exact - counts).argsort(descending=True, stable=True)[: count - int(counts.sum())]
    counts[largest] += 1
    parts = []
    for exit, wanted in enumerate(counts.tolist()):
        members = (exits == exit).nonzero().flatten()
        parts.append(members[torch.randperm(len(members), generator=generator)[:wanted]])
    rows = torch.cat(parts)
    return rows[torch.randperm(len(rows), generator=generator)]


def _calls(model: ofr.ExitModel, policy: ofr.Policy, batches: tuple[Tensor, ...]) -> dict[str, Callable[[], object]]:
    runtime = ofr.deploy(model, policy)

    @torch.no_grad()
    def plain() -> None:
        for batch in batches:
            model.backbone(batch).argmax(dim=-1).cpu()

    def with_exits() -> None:
        for batch in batches:
            runtime(batch).predictions.cpu()

    return {"plain": plain, "exits": with_exits}
