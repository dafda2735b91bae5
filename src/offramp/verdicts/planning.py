"""Exits before any training: what they would be worth if given shares of the samples left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from offramp.backbones import Signature
from offramp.criteria import MaxProbability
from offramp.errors import VerdictError
from offramp.exit_model import ExitModel
from offramp.policy import NEVER, Policy
from offramp.recording import Recording
from offramp.samples import Samples

ROWS = 256


@dataclass(frozen=True, eq=False)
class Planned:
    """Stand-ins for a policy and data that do not exist yet. Only times mean anything with them.

    Attributes:
        policy: lets the wished share leave at each exit.
        inputs: random, as the model takes them.
        shares: `[exits]`, share of the inputs that leaves at each exit.
    """

    policy: Policy
    inputs: Any
    shares: tuple[float, ...]


def planned(model: ExitModel, rates: Sequence[float], rows: int = ROWS, seed: int = 0) -> Planned:
    """Makes inputs and thresholds with which given shares leave, whatever the heads have learned.

    Args:
        model: trained or not.
        rates: one per early exit: the share of the rows **arriving** there that leaves. `[0.5, 0.5]` lets half leave
            at the first exit and a quarter at the second.
        rows: number of inputs.
        seed: of the inputs.

    Raises:
        VerdictError: another number of rates, one outside 0 to 1, or scores that are alike, so that the shares cannot
            be had.
    """
    if len(rates) != model.exits - 1 or any(not 0 <= rate <= 1 for rate in rates):
        raise VerdictError(
            f"rates={list(rates)}: give one share between 0 and 1 per early exit ({model.exits - 1}), earliest first."
        )
    samples = random_samples(model.signature, rows, seed)
    recording = samples.record(model)
    policy, shares = with_rates(recording, rates)
    return Planned(policy, samples.take(torch.arange(rows)), shares)


def with_rates(recording: Recording, rates: Sequence[float]) -> tuple[Policy, tuple[float, ...]]:
    """Thresholds between the scores, such that these shares of the arriving rows leave; and the shares of all rows.

    Raises:
        VerdictError: too many rows have the same score.
    """
    closed = Policy(MaxProbability(), [NEVER] * len(rates))
    inside = torch.ones(recording.samples, dtype=torch.bool)
    thresholds: list[float] = []
    shares: list[float] = []
    for k, rate in enumerate(rates):
        scores = closed.score(k, recording.logits[k])
        wished = round(rate * int(inside.sum()))
        thresholds.append(_threshold(scores[inside], wished))
        leaving = inside & (scores > thresholds[-1])
        if int(leaving.sum()) != wished:
            raise VerdictError(
                f"At exit {k}, {wished} of {int(inside.sum())} rows were to leave, and {int(leaving.sum())} do: too "
                "many have the same score. Give another example or head, whose logits differ from row to row."
            )
        shares.append(wished / recording.samples)
        inside &= ~leaving
    return Policy(closed.criterion, thresholds), (*shares, int(inside.sum()) / recording.samples)


def _threshold(scores: Tensor, leaving: int) -> float:
    """Midway between the scores of the last row that leaves and the first that stays.

    Not at a score itself, where rounding in a batch of another size would decide.
    """
    if leaving == 0:
        return 1.0 + float(scores.abs().max()) if len(scores) else 1.0
    ordered = scores.double().sort(descending=True).values
    below = ordered[leaving] if leaving < len(ordered) else ordered[-1] - 1
    return float((ordered[leaving - 1] + below) / 2)


def random_samples(signature: Signature, rows: int, seed: int) -> Samples:
    """Inputs of the example's kind: noise for numbers, whole numbers drawn from the example's, its rows of flags."""
    generator = torch.Generator().manual_seed(seed)
    leaves = [
        _noise(x, rows, generator) if has else x for x, has in zip(signature.leaves, signature.has_rows, strict=True)
    ]
    return Samples(tuple(leaves), signature, None)


def _noise(example: Tensor, rows: int, generator: torch.Generator) -> Tensor:
    shape = (rows, *example.shape[1:])
    if example.is_floating_point():
        return torch.randn(shape, generator=generator).to(example.dtype)
    if example.max() <= 1:  # flags such as masks, which must not hide a whole row
        return example[torch.arange(rows) % len(example)]
    values = example.flatten()
    return values[torch.randint(len(values), shape, generator=generator)]
