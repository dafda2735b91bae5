"""What running costs: multiply-accumulates (MACs), counted by torch's flop counter on the operations executed."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

Shape = Sequence[int]

_SWITCH = threading.RLock()


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
    with counting_macs() as total, torch.no_grad():
        call()
    return total()


@contextmanager
def counting_macs() -> Iterator[Callable[[], float]]:
    """Counts the MACs that the block executes; calling the yielded function reads the total so far."""
    with transformers_in_parts(), FlopCounterMode(display=False, custom_mapping=_FUSED) as counter:
        yield lambda: counter.get_total_flops() / 2


@contextmanager
def transformers_in_parts() -> Iterator[None]:
    """Keeps torch from running a transformer layer as one operation, which its counter has no formula for.

    The switch is the whole process's, so that two threads that count must take turns to put it back rightly.
    """
    with _SWITCH:
        fused = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)


def _attention_flops(query: Shape, key: Shape, value: Shape, *rest: Any, **named: Any) -> int:
    """Of `softmax(q k) v`: 2 [n, heads, queries] x keys x (width of keys + width of values)."""
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _mkldnn_rnn_flops(inputs: Shape, from_input: Shape, from_state: Shape, *rest: Any, **named: Any) -> int:
    """Of one LSTM layer and direction: both weight matrices at every step of every row."""
    return _cudnn_rnn_flops(inputs, [from_input, from_state])


def _cudnn_rnn_flops(inputs: Shape, weights: Sequence[Shape], *rest: Any, **named: Any) -> int:
    """Of a recurrent network: every weight matrix (biases are vectors) at every step of every row."""
    return 2 * math.prod(inputs[:-1]) * sum(math.prod(w) for w in weights if len(w) == 2)


# Fused operations that torch's counter takes for free, checked in torch 2.13.
_FUSED = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.aten.mkldnn_rnn_layer: _mkldnn_rnn_flops,
    torch.ops.aten._cudnn_rnn: _cudnn_rnn_flops,
}
