"""Layers that hold integers: int8 weights, int32 biases and their scales, in place of what was trained.

In PyTorch they compute with the floats that these stand for, so that a model gives what it gave in training. Exported
to ONNX they are DequantizeLinear of integers, which ONNX Runtime and others fuse with the quantized activations into
integer arithmetic.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from offramp.compression.layers import INPUTS, WEIGHTS, transform_inputs
from offramp.compression.rounding import Ladder, along, decomposed

INT32 = 2**31 - 1


class _Integer:
    """What the integer layers share."""

    integers: Tensor
    scale: Tensor
    zero_point: Tensor | None
    bias_values: Tensor | None
    bias_scale: Tensor | None

    @property
    def weight(self) -> Tensor:
        """The weight that the integers stand for."""
        if torch.compiler.is_exporting():
            return _dequantize(self.integers, self.scale, self.zero_point)
        shift = 0 if self.zero_point is None else along(self.zero_point, self.integers).to(self.scale.dtype)
        return (self.integers.to(self.scale.dtype) - shift) * along(self.scale, self.integers)

    @property
    def bias(self) -> Tensor | None:
        """The bias, of integers too where the scale of the layer's input is known."""
        if self.bias_values is None or self.bias_scale is None:
            return self.bias_values
        if torch.compiler.is_exporting():
            return _dequantize(self.bias_values, self.bias_scale, None)
        return self.bias_values.to(self.bias_scale.dtype) * self.bias_scale


def learned_numbers(model: nn.Module) -> int:
    """Numbers that a model has learned: parameters, and the integers that some of them became."""
    twins = [module for module in model.modules() if isinstance(module, _Integer)]
    became = [values for twin in twins for values in (twin.integers, twin.bias_values) if values is not None]
    return sum(values.numel() for values in (*model.parameters(), *became))


class IntegerLinear(_Integer, nn.Linear):  # type: ignore[misc, override]
    """`nn.Linear` of integers."""

    def forward(self, input: Tensor) -> Tensor:
        """See `nn.Linear`."""
        return super().forward(transform_inputs(self, input))


class IntegerConv1d(_Integer, nn.Conv1d):  # type: ignore[override]
    """`nn.Conv1d` of integers."""

    def forward(self, input: Tensor) -> Tensor:
        """See `nn.Conv1d`."""
        return super().forward(transform_inputs(self, input))


class IntegerConv2d(_Integer, nn.Conv2d):  # type: ignore[override]
    """`nn.Conv2d` of integers."""

    def forward(self, input: Tensor) -> Tensor:
        """See `nn.Conv2d`."""
        return super().forward(transform_inputs(self, input))


class IntegerConv3d(_Integer, nn.Conv3d):  # type: ignore[override]
    """`nn.Conv3d` of integers."""

    def forward(self, input: Tensor) -> Tensor:
        """See `nn.Conv3d`."""
        return super().forward(transform_inputs(self, input))


KINDS = (
    (nn.Linear, IntegerLinear),
    (nn.Conv1d, IntegerConv1d),
    (nn.Conv2d, IntegerConv2d),
    (nn.Conv3d, IntegerConv3d),
)


def to_integers(layer: Any, ladder: Ladder, norm: _BatchNorm | None, input_scale: float | None) -> None:
    """Turns a layer into its integer twin, in place.

    Args:
        layer: a transformed layer of `offramp.compression.layers`; its input transforms stay.
        ladder: the grids of its weight.
        norm: the batch norm behind it, with which it is merged; in evaluation mode that changes only scales and biases.
        input_scale: between neighbouring values of its input; None where that is not quantized.
    """
    integers, scale, zero = ladder.integers(layer.weight.detach()), ladder.scale, ladder.zero_point
    bias = None if layer.bias is None else layer.bias.detach()
    if norm is not None:
        integers, scale, zero, bias = _merged(integers, scale, zero, bias, norm)
    inputs = layer.get_submodule(INPUTS)
    delattr(layer, WEIGHTS)
    for name in ("weight", "bias"):
        del layer._parameters[name]
    layer.__class__ = next(twin for plain, twin in KINDS if isinstance(layer, plain))
    layer.register_buffer("integers", integers)
    layer.register_buffer("scale", scale)
    layer.register_buffer("zero_point", zero if bool(zero.any()) else None)
    values, bias_scale = _bias(bias, scale, input_scale)
    layer.register_buffer("bias_values", values)
    layer.register_buffer("bias_scale", bias_scale)
    layer.add_module(INPUTS, inputs)


def _merged(
    integers: Tensor, scale: Tensor, zero: Tensor, bias: Tensor | None, norm: _BatchNorm
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The integers of `norm(layer(x))`: each output is multiplied by a factor, whose sign turns the integers around."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = (norm.running_var + norm.eps).rsqrt().detach()
    factor = factor if norm.weight is None else factor * norm.weight.detach()
    shift = torch.zeros_like(factor) if norm.bias is None else norm.bias.detach()
    before = torch.zeros_like(factor) if bias is None else bias
    flip, dead = factor < 0, factor == 0
    # -1 - q, of -128..127, lies there again, and -(q - z) = (-1 - q) - (-1 - z).
    symmetric = not bool(zero.any())
    turned, turned_zero = (-integers, zero) if symmetric else (-1 - integers, -1 - zero)
    integers = torch.where(along(flip, integers), turned, integers)
    zero = torch.where(flip, turned_zero, zero)
    integers = torch.where(along(dead, integers), along(zero, integers).to(torch.int8), integers)
    scale = torch.where(dead, 1.0, scale * factor.abs())
    return integers, scale, zero, (before - norm.running_mean) * factor + shift


def _bias(bias: Tensor | None, scale: Tensor, input_scale: float | None) -> tuple[Tensor | None, Tensor | None]:
    """Integers and their scale; or floats, where they cannot be integers."""
    if bias is None or input_scale is None:
        return bias, None
    steps = (bias.double() / (scale.double() * input_scale)).round()
    if bool((steps.abs() > INT32).any()):
        return bias, None
    return steps.to(torch.int32), scale * input_scale


def _dequantize(integers: Tensor, scale: Tensor, zero_point: Tensor | None) -> Tensor:
    kind = integers.dtype
    bounds = torch.iinfo(kind)
    found: Tensor = decomposed().dequantize_per_channel(integers, scale, zero_point, 0, bounds.min, bounds.max, kind)
    return found
