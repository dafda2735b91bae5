"""What running costs: multiply-accumulates (MACs), counted by torch's flop counter on the operations executed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Cost:
    """MACs of one sample, by the exit at which it leaves.

    Attributes:
        macs: `[exits]`, cumulative, every head passed on the way included.
        head_macs: `[exits - 1]`, what each early head adds to `macs` from its exit on.
    """

    macs: tuple[float, ...]
    head_macs: tuple[float, ...]

    @classmethod
    def of_parts(cls, stages: Sequence[float], heads: Sequence[float]) -> Cost:
        """From the MACs of each stage `[exits]` and of each early head `[exits - 1]`."""
        total, macs = 0.0, []
        for stage, head in zip(stages, [*heads, 0.0], strict=True):
            total += stage + head
            macs.append(total)
        return cls(tuple(macs), tuple(float(h) for h in heads))

    @property
    def plain(self) -> float:
        """MACs of the backbone alone."""
        return self.macs[-1] - sum(self.head_macs)

    def under(self, heads_needed: Sequence[bool]) -> Tensor:
        """`[exits]` float64: the cumulative MACs when only these early heads run."""
        skipped = [0.0 if needed else head for needed, head in zip(heads_needed, self.head_macs, strict=True)]
        return torch.tensor(self.macs).double() - torch.tensor([*skipped, 0.0]).double().cumsum(0)


def count_macs(call: Callable[[], object]) -> float:
    """MACs of the matrix products and convolutions that `call()` executes (half of torch's flop count).

    Example:
        >>> count_macs(lambda: torch.zeros(2, 3) @ torch.zeros(3, 4))
        24.0
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return counter.get_total_flops() / 2
