"""What every linear layer and convolution costs, measured on one forward pass."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from offramp.backbones import arguments, device_of, evaluating, first_tensor, map_tensors
from offramp.compression.channel_selection import Sizes
from offramp.compression.layers import CONVOLUTIONS, LAYERS


def layer_sizes(model: nn.Module, example: Any) -> Sizes:
    """MACs of one row, parameters and shapes of every linear layer and convolution, by name.

    Args:
        model: run once, in evaluation mode; not changed.
        example: inputs of a batch, as the model takes them.

    Example:
        >>> layer_sizes(nn.Sequential(nn.Conv2d(1, 2, 3, bias=False)), torch.zeros(5, 1, 4, 4)).macs
        {'0': 72.0}
    """
    layers = {name: m for name, m in model.named_modules() if isinstance(m, LAYERS)}
    macs: Counter[str] = Counter()

    def count(name: str) -> Any:
        def hook(layer: Any, inputs: Any, output: Tensor) -> None:
            macs[name] += output.numel() // layer.weight.shape[0] * layer.weight.numel()

        return hook

    handles = [layer.register_forward_hook(count(name)) for name, layer in layers.items()]
    args, kwargs = arguments(map_tensors(lambda t: t.to(device_of(model)), example))
    tensor = first_tensor((args, kwargs))
    try:
        with evaluating(model), torch.no_grad(), torch.random.fork_rng(devices=[]):
            model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    rows = 1 if tensor is None or not tensor.ndim else len(tensor)
    return Sizes(
        macs={name: macs[name] / rows for name in layers},
        parameters={name: layer.weight.numel() for name, layer in layers.items()},
        shapes={name: _shape(layer) for name, layer in layers.items()},
    )


def _shape(layer: Any) -> tuple[int, int]:
    grouped = isinstance(layer, CONVOLUTIONS) and layer.groups > 1
    return layer.weight.shape[0], 1 if grouped else layer.weight.shape[1]
