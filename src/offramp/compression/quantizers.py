"""Modules that round weights and activations to grids while a model trains, and know their grids afterwards."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from offramp.compression.layers import Transform
from offramp.compression.ranges import Seen
from offramp.compression.rounding import Grid, Ladder

OUTPUT = "output_quantizer"


class WeightQuantizer(Transform):
    """Rounds a weight to the grid that just covers it, each output's own or one for all; the grid follows the weight.

    Args:
        bits: 2 to 8.
        symmetric: whether zero is the middle of the grid.
        per_channel: whether each output has a grid of its own.
    """

    def __init__(self, bits: int, symmetric: bool, per_channel: bool) -> None:
        super().__init__()
        self.bits, self.symmetric, self.per_channel = bits, symmetric, per_channel
        self.enabled = True

    def ladder(self, weight: Tensor) -> Ladder:
        """The grids for this weight."""
        return Ladder.of(weight, self.bits, self.symmetric, self.per_channel)

    def forward(self, values: Tensor) -> Tensor:
        """The weight on its grid."""
        return self.ladder(values).round(values) if self.enabled else values


class ActivationQuantizer(Transform):
    """Rounds an activation to a grid that was fixed when it was initialised.

    The grid is in the state dict, as three numbers. Before it is known, and where quantizing has not begun, values pass
    as they are.

    Args:
        bits: 2 to 8.
        symmetric: see `Grid.between`.
    """

    rounds_to_steps = True
    """For those who compare a compiled model with this one."""

    def __init__(self, bits: int, symmetric: bool) -> None:
        super().__init__()
        self.bits, self.symmetric = bits, symmetric
        self.grid: Grid | None = None
        self.seen: Seen | None = None
        self.enabled = True

    def forward(self, values: Tensor) -> Tensor:
        """The values on the grid."""
        if self.seen is not None:
            self.seen.add(values)
        if self.grid is None or not self.enabled:
            return values
        return self.grid.round(values)

    def cover(self, low: float, high: float) -> None:
        """Fixes the grid."""
        self.grid = Grid.between(low, high, self.bits, self.symmetric)

    def get_extra_state(self) -> Tensor:
        """Scale, zero point and highest q; empty before they are known."""
        grid = self.grid
        values = [] if grid is None else [grid.scale, float(grid.zero_point), float(grid.highest)]
        return torch.tensor(values, dtype=torch.float64)

    def set_extra_state(self, state: Any) -> None:
        """Inverse of `get_extra_state`."""
        values = state.tolist()
        self.grid = Grid(values[0], int(values[1]), int(values[2])) if values else None


def quantize_output(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    """The hook on modules whose output is quantized; a plain function, which can be copied and pickled."""
    found: Tensor = getattr(module, OUTPUT)(output)
    return found


def put_on_output(module: nn.Module, quantizer: ActivationQuantizer) -> None:
    """Quantizes what a module gives."""
    module.add_module(OUTPUT, quantizer)
    module.register_forward_hook(quantize_output)


def take_off_output(module: nn.Module) -> ActivationQuantizer | None:
    """Undoes `put_on_output`; gives the quantizer, or None where there is none."""
    quantizer = module._modules.pop(OUTPUT, None)
    for key, hook in list(module._forward_hooks.items()):
        if hook is quantize_output:
            del module._forward_hooks[key]
    return quantizer if isinstance(quantizer, ActivationQuantizer) else None
