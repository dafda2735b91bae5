"""Weights of which a part counts as zero: single entries, or whole channels that are gone."""

from __future__ import annotations

import torch
from torch import Tensor

from offramp.compression.layers import Transform


class WeightMask(Transform):
    """`weight * mask`, the mask `[like weight]` of zeros and ones in the model's state dict.

    What is masked gets no gradient but keeps its value, so that it can come back when the rate falls.
    """

    mask: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones_like(weight))

    def forward(self, values: Tensor) -> Tensor:
        """The weight with zeros."""
        return values * self.mask

    def narrow(self, kept_out: Tensor, kept_in: Tensor) -> None:
        """See `Transform.narrow`."""
        self.mask = narrowed(self.mask, kept_out, kept_in)


class ChannelMask(Transform):
    """Channels that are gone: nobody reads them, which is as if they were not there, whatever comes in between.

    The layer that makes a channel goes on making it, so that it can come back; only those that read it see nothing of
    it. So batch norms and activations need no masks, and nothing depends on what they do to zero.

    Args:
        weight: of the layer, `[outputs, inputs, ...]`.
        reads: whether the layer reads channels that may be gone.
    """

    outputs: Tensor
    inputs: Tensor

    def __init__(self, weight: Tensor, reads: bool) -> None:
        super().__init__()
        self.reads = reads
        self.register_buffer("outputs", weight.new_ones(weight.shape[0]).detach())
        self.register_buffer("inputs", weight.new_ones(weight.shape[1]).detach())

    def forward(self, values: Tensor) -> Tensor:
        """The weight with zeros for inputs that are gone."""
        return values * self.inputs.view(1, -1, *[1] * (values.ndim - 2)) if self.reads else values

    def present(self, weight: Tensor) -> Tensor:
        """See `Transform.present`."""
        there = self.outputs[:, None] * self.inputs[None, :] > 0
        return there.view(*there.shape, *[1] * (weight.ndim - 2)).expand_as(weight)

    def narrow(self, kept_out: Tensor, kept_in: Tensor) -> None:
        """See `Transform.narrow`."""
        self.outputs = self.outputs[kept_out]
        self.inputs = self.inputs[kept_in] if len(self.inputs) > 1 else self.inputs


def narrowed(values: Tensor, kept_out: Tensor, kept_in: Tensor) -> Tensor:
    """A tensor shaped like a weight, without the outputs and inputs that are removed; a depthwise one has one input."""
    chosen = values.index_select(0, kept_out.to(values.device))
    return chosen.index_select(1, kept_in.to(values.device)) if values.shape[1] > 1 else chosen
