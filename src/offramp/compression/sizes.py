"""How large a model is, and how long it takes: before and after, measured in one run."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from offramp.backbones import arguments, device_of, evaluating, map_tensors
from offramp.compression.integers import learned_numbers
from offramp.cost import count_macs
from offramp.latency import Timing, measure


@dataclass(frozen=True)
class Size:
    """What a model takes.

    Attributes:
        parameters: numbers that it has learned, zeros included.
        macs: multiply-accumulates of one row; None where torch cannot count them (integer arithmetic).
        bytes: of its state dict in a file.
    """

    parameters: int
    macs: float | None
    bytes: int

    @classmethod
    def of(cls, model: nn.Module, example: Any) -> Size:
        """Measures a model.

        Args:
            model: is used in evaluation mode.
            example: inputs of one batch.
        """
        args, kwargs = arguments(_rows(example, device_of(model), 1))
        with evaluating(model):
            macs = count_macs(lambda: model(*args, **kwargs))
        file = io.BytesIO()
        torch.save(model.state_dict(), file)
        return cls(learned_numbers(model), macs or None, file.getbuffer().nbytes)


@dataclass(frozen=True)
class Shrinking:
    """A model before and after, by the same measure.

    Attributes:
        before: size of the model that was compressed.
        after: size of the stripped one.
        seconds: wall times of one call, ("before", "after"), by batch size; interleaved in one run.
    """

    before: Size
    after: Size
    seconds: dict[int, tuple[Timing, Timing]]

    @classmethod
    def of(
        cls,
        before: nn.Module,
        after: nn.Module,
        example: Any,
        batch_sizes: tuple[int, ...] = (1, 256),
        rounds: int = 20,
    ) -> Shrinking:
        """Measures both.

        Args:
            before: the model that was compressed.
            after: the stripped one.
            example: inputs of one batch; their rows are repeated to fill larger ones.
            batch_sizes: that are timed.
            rounds: of each.
        """
        seconds = {}
        for rows in batch_sizes:
            calls = {"before": _call(before, example, rows), "after": _call(after, example, rows)}
            with evaluating(before), evaluating(after), torch.no_grad():
                times = measure(calls, rounds=rounds, device=device_of(before))
            seconds[rows] = (times["before"], times["after"])
        return cls(Size.of(before, example), Size.of(after, example), seconds)

    def latency_ratio(self, rows: int) -> float:
        """Time after over time before at a batch size; below 1 is faster."""
        before, after = self.seconds[rows]
        return after.median / before.median

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "before": asdict(self.before),
            "after": asdict(self.after),
            "latency": [
                {"batch": rows, "before": old.to_dict(), "after": new.to_dict(), "ratio": self.latency_ratio(rows)}
                for rows, (old, new) in self.seconds.items()
            ],
        }


def _call(model: nn.Module, example: Any, rows: int) -> Any:
    args, kwargs = arguments(_rows(example, device_of(model), rows))
    return lambda: model(*args, **kwargs)


def _rows(example: Any, device: torch.device, rows: int) -> Any:
    def repeated(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.repeat(-(-rows // len(tensor)), *[1] * (tensor.ndim - 1))[:rows].to(device)

    return map_tensors(repeated, example)
