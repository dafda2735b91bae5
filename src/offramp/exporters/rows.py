"""Inputs to check an export with: random ones, and ones whose scores lie at the thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from offramp.backbones import Signature
from offramp.exporters.subject import Subject

PAIRS, STEPS = 4, 14
"""Bisections per exit, and their steps: each halves the distance to the threshold."""

Leaves = list[Any]
"""A batch as the flat list of a signature."""


def random_rows(subject: Subject, rows: int, seed: int = 0) -> Leaves:
    """Rows drawn around the example: numbers with its mean and spread, other values of a row in another order.

    Masks stay as they are in the example: in another order they might hide everything that a token sees, and what comes
    out of nothing is no question to ask of a model.
    """
    generator = torch.Generator().manual_seed(seed)
    signature, device = subject.entrance.signature, subject.entrance.device
    return [
        _drawn(x, rows, generator).to(device) if has else x.to(device) if isinstance(x, Tensor) else x
        for x, has in zip(signature.leaves, signature.has_rows, strict=True)
    ]


def _drawn(x: Tensor, rows: int, generator: torch.Generator) -> Tensor:
    repeated = x[torch.arange(rows) % x.shape[0]]
    if x.is_floating_point():
        wide = x.float()
        spread = float(wide.std()) if wide.numel() > 1 and float(wide.std()) > 0 else 1.0
        return (float(wide.mean()) + spread * torch.randn(repeated.shape, generator=generator)).to(x.dtype)
    if x.ndim < 2 or _is_mask(x):
        return x[torch.randint(len(x), (rows,), generator=generator)]
    order = torch.rand(repeated.shape, generator=generator).argsort(dim=-1)
    return repeated.gather(-1, order)


def _is_mask(x: Tensor) -> bool:
    return bool(((x == 0) | (x == 1)).all())


def joined(signature: Signature, batches: Sequence[Leaves]) -> Leaves:
    """One batch of several."""
    return [
        torch.cat(values) if has else values[0]
        for values, has in zip(zip(*batches, strict=True), signature.has_rows, strict=True)
    ]


def rows_at_thresholds(subject: Subject, leaves: Leaves) -> Leaves | None:
    """Rows just above and just below the thresholds of the open exits.

    Between a row that would leave at an exit and one that would not, the straight line is bisected until both ends are
    close to the threshold.

    Args:
        subject: with its thresholds.
        leaves: rows to start from.

    Returns:
        Rows, two per bisection; None where inputs are no real numbers, or scores lie on one side of every threshold.
    """
    signature = subject.entrance.signature
    if not all(x.is_floating_point() for x, has in zip(leaves, signature.has_rows, strict=True) if has):
        return None
    found: list[Leaves] = []
    all_scores = subject.scores(subject.pack(leaves))
    for stop, (scores, threshold) in enumerate(zip(all_scores, subject.plan.thresholds, strict=True)):
        above, below = (mask.nonzero().flatten() for mask in (scores > threshold, scores < threshold))
        pairs = min(len(above), len(below), PAIRS)
        if pairs:
            ends = signature.take(leaves, above[:pairs]), signature.take(leaves, below[:pairs])
            found += _bisected(subject, stop, threshold, *ends)
    return joined(signature, found) if found else None


def _bisected(subject: Subject, stop: int, threshold: float, above: Leaves, below: Leaves) -> tuple[Leaves, Leaves]:
    has_rows = subject.entrance.signature.has_rows
    for _ in range(STEPS):
        middle = [(a + b) / 2 if has else a for a, b, has in zip(above, below, has_rows, strict=True)]
        leaves = subject.scores(subject.pack(middle), stop + 1)[stop] > threshold
        above = [_where(leaves, m, a) if has else a for m, a, has in zip(middle, above, has_rows, strict=True)]
        below = [_where(leaves, b, m) if has else b for m, b, has in zip(middle, below, has_rows, strict=True)]
    return above, below


def _where(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(mask.reshape(-1, *[1] * (yes.ndim - 1)), yes, no)
