"""Overthinking: what depth wastes and what it destroys, and the bound that a perfect exit decision would reach."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from offramp.recording import Recording


@dataclass(frozen=True)
class Overthinking:
    """Shares of samples, and the upper bound of a decision that sees the labels.

    Attributes:
        wasteful: right at an early exit already: all that is computed beyond is wasted.
        destructive: right at an early exit, wrong at the last: depth destroys the answer.
        oracle_accuracy: share that is right at some exit. No policy of these exits is more accurate.
        oracle_macs: mean MACs of leaving at the first right exit, with its head only; at exit 0 where none is right.
        oracle_macs_share: of the plain network's. No policy reaches the oracle's accuracy with fewer.
    """

    wasteful: float
    destructive: float
    oracle_accuracy: float
    oracle_macs: float
    oracle_macs_share: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def overthinking(recording: Recording) -> Overthinking:
    """How often the network thinks for too long.

    Raises:
        RecordingError: the recording has no labels.

    Source: Kaya et al. 2019, "Shallow-deep networks", section 4: wasteful and destructive effects.

    Example:
        >>> r = Recording([[[2.0, 0.0], [2.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]], labels=[0, 0], macs=[10, 30])
        >>> overthinking(r)
        Overthinking(wasteful=1.0, destructive=0.5, oracle_accuracy=1.0, oracle_macs=10.0, oracle_macs_share=0.33...)
    """
    right = recording.correct
    early = right[:-1].any(dim=0)
    # The first exit that is right; argmax gives exit 0 where none is.
    first = right.int().argmax(dim=0)
    macs = float(_alone(recording)[first].mean())
    return Overthinking(
        wasteful=float(early.double().mean()),
        destructive=float((early & ~right[-1]).double().mean()),
        oracle_accuracy=float(right.any(dim=0).double().mean()),
        oracle_macs=macs,
        oracle_macs_share=macs / recording.plain_macs,
    )


def _alone(recording: Recording) -> Tensor:
    """`[exits]` MACs of leaving at each exit when no other head runs."""
    heads = torch.tensor([0.0, *recording.head_macs]).double().cumsum(0)
    return torch.tensor(recording.macs).double() - heads
