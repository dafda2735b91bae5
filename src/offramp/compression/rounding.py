"""Values on a grid of `scale * (q - zero_point)`, q a whole number from `lowest` to `highest`: rounding, three ways.

What is computed is the same; the way depends on who asks. Training uses torch's fused operations, which neither
compilers nor exporters know; compilers get plain arithmetic, which they fuse themselves; exporters get the operations
that become QuantizeLinear and DequantizeLinear in ONNX. Gradients go straight through where nothing is clipped.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """One grid for a whole tensor.

    Attributes:
        scale: between two neighbours, above 0.
        zero_point: the q that stands for zero.
        highest: largest q; the smallest is 0.
    """

    scale: float
    zero_point: int
    highest: int

    @classmethod
    def between(cls, low: float, high: float, bits: int, symmetric: bool) -> Grid:
        """The grid that covers a range, zero included exactly.

        Symmetric grids have zero at their lower end where nothing is negative, and in the middle otherwise.

        Example:
            >>> Grid.between(0.0, 25.5, bits=8, symmetric=True)
            Grid(scale=0.1, zero_point=0, highest=255)
            >>> Grid.between(-127.0, 30.0, bits=8, symmetric=True)
            Grid(scale=1.0, zero_point=128, highest=255)
        """
        highest = 2**bits - 1
        low, high = min(low, 0.0), max(high, 0.0)
        if symmetric and low < 0:
            middle = 2 ** (bits - 1)
            return cls(_positive(max(-low, high) / (middle - 1)), middle, highest)
        scale = _positive((high - low) / highest)
        return cls(scale, round(-low / scale), highest)

    def round(self, values: Tensor) -> Tensor:
        """The nearest values on the grid."""
        if torch.compiler.is_exporting():
            return self._for_export(values)
        if torch.compiler.is_compiling() or values.dtype != torch.float32:
            steps = straight_round(values / self.scale) + self.zero_point
            return (steps.clamp(0, self.highest) - self.zero_point) * self.scale
        return torch.fake_quantize_per_tensor_affine(values, self.scale, self.zero_point, 0, self.highest)

    def _for_export(self, values: Tensor) -> Tensor:
        operations = decomposed()
        if self.highest < 255:  # what is exported has bytes, and would not clip at the ends of a coarser grid
            values = values.clamp(-self.zero_point * self.scale, (self.highest - self.zero_point) * self.scale)
        about = (self.scale, self.zero_point, 0, 255, torch.uint8)
        found: Tensor = operations.dequantize_per_tensor(operations.quantize_per_tensor(values, *about), *about)
        return found


@dataclass(frozen=True)
class Ladder:
    """One grid for each output of a weight, or one for all of them; signed.

    Attributes:
        scale: `[outputs]`.
        zero_point: `[outputs]`, whole numbers; zero where the grid is symmetric.
        lowest: smallest q.
        highest: largest q.
    """

    scale: Tensor
    zero_point: Tensor
    lowest: int
    highest: int

    @classmethod
    def of(cls, weight: Tensor, bits: int, symmetric: bool, per_channel: bool) -> Ladder:
        """The grids that just cover a weight `[outputs, ...]`; symmetric ones do without the lowest q."""
        rows = weight.detach().flatten(1)
        low, high = rows.amin(1).clamp(max=0), rows.amax(1).clamp(min=0)
        if not per_channel:
            low, high = low.amin().expand_as(low), high.amax().expand_as(high)
        half = 2 ** (bits - 1)
        if symmetric:
            scale = torch.maximum(-low, high) / (half - 1)
            scale = torch.where(scale > 0, scale, 1.0)
            return cls(scale, torch.zeros_like(scale, dtype=torch.int32), 1 - half, half - 1)
        scale = (high - low) / (2 * half - 1)
        scale = torch.where(scale > 0, scale, 1.0)
        return cls(scale, (-half - low / scale).round().to(torch.int32), -half, half - 1)

    def round(self, weight: Tensor) -> Tensor:
        """The nearest values on the grids."""
        if torch.compiler.is_compiling() or weight.dtype != torch.float32:
            scale, zero = (along(t, weight) for t in (self.scale, self.zero_point))
            steps = straight_round(weight / scale) + zero
            return (steps.clamp(self.lowest, self.highest) - zero) * scale
        return torch.fake_quantize_per_channel_affine(weight, self.scale, self.zero_point, 0, self.lowest, self.highest)

    def integers(self, weight: Tensor) -> Tensor:
        """The q of the nearest values, int8."""
        scale, zero = (along(t, weight) for t in (self.scale, self.zero_point))
        return ((weight / scale).round() + zero).clamp(self.lowest, self.highest).to(torch.int8)


def along(values: Tensor, weight: Tensor) -> Tensor:
    """`[outputs]` shaped to broadcast along the first dimension of a weight."""
    return values.view(-1, *[1] * (weight.ndim - 1))


def straight_round(values: Tensor) -> Tensor:
    """Rounds; gradients pass as if it did not."""
    return values.round() + (values - values.detach())


def decomposed() -> Any:
    """Torch's operations that exporters turn into QuantizeLinear and DequantizeLinear; registered by importing them."""
    importlib.import_module("torch.ao.quantization.fx._decomposed")
    return torch.ops.quantized_decomposed


def _positive(scale: float) -> float:
    return scale if scale > 0 else 1.0
