"""Channels that go for good: weights, biases and norms become smaller, and with them files, memory and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from offramp.compression.layers import CONVOLUTIONS, transforms_of

if TYPE_CHECKING:
    from offramp.compression.groups import Group

Kept = Mapping[str, Tensor]
"""For each group by name, bool `[channels]`: which of its channels stay."""


def kept_by_module(model: nn.Module, groups: Sequence[Group], kept: Kept) -> dict[str, tuple[Tensor, Tensor]]:
    """For every module concerned, bool of its outputs and of its inputs: which of them stay.

    A module that changes channels has as many inputs as outputs.
    """
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for group in groups:
        for coupling in group.couplings:
            outputs, inputs = found.get(coupling.module) or _all(model.get_submodule(coupling.module))
            if coupling.side != "reads":
                outputs = outputs & coupling.spread(kept[group.name].cpu(), len(outputs))
            if coupling.side != "makes":
                inputs = inputs & coupling.spread(kept[group.name].cpu(), len(inputs))
            found[coupling.module] = outputs, inputs
    return found


def remove_channels(model: nn.Module, groups: Sequence[Group], kept: Kept) -> None:
    """Takes channels out of a model, in place; parameters are new objects of smaller shape.

    Args:
        model: the one the groups were found in, or a copy; channels must all be there.
        groups: from `find_groups`.
        kept: which channels stay, at least one of each group.
    """
    for name, (outputs, inputs) in kept_by_module(model, groups, kept).items():
        module = model.get_submodule(name)
        if not bool(outputs.all() and inputs.all()):
            _narrow(module, outputs.nonzero().flatten(), inputs.nonzero().flatten())


def silence_channels(model: nn.Module, groups: Sequence[Group], kept: Kept) -> None:
    """Sets the weights that read removed channels to zero, in place: what the model gives is as if they were gone."""
    for group in groups:
        for coupling in group.of_side("reads"):
            weight: Any = model.get_submodule(coupling.module).weight
            reads = coupling.spread(kept[group.name].to(weight.device), weight.shape[1])
            with torch.no_grad():
                weight.mul_(reads.view(1, -1, *[1] * (weight.ndim - 2)))


def _all(module: nn.Module) -> tuple[Tensor, Tensor]:
    weight: Any = module.weight if module.weight is not None else module.running_mean
    outputs = len(weight) if weight is not None else int(module.num_features)  # type: ignore[arg-type]
    alone = weight is None or weight.ndim < 2 or (isinstance(module, CONVOLUTIONS) and module.groups > 1)
    inputs = outputs if alone else weight.shape[1]
    return torch.ones(outputs, dtype=torch.bool), torch.ones(inputs, dtype=torch.bool)


def _narrow(module: nn.Module, outputs: Tensor, inputs: Tensor) -> None:
    if isinstance(module, CONVOLUTIONS):
        module.in_channels, module.out_channels = len(inputs), len(outputs)
        if module.groups > 1:
            module.groups = len(outputs)
        else:
            _select(module, "weight", inputs, dim=1)
    elif isinstance(module, nn.Linear):
        module.in_features, module.out_features = len(inputs), len(outputs)
        _select(module, "weight", inputs, dim=1)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(outputs)
    else:
        module.num_features = len(outputs)  # type: ignore[assignment]
    for name in ("weight", "bias", "running_mean", "running_var"):
        _select(module, name, outputs, dim=0)
    for transform in transforms_of(module):
        transform.narrow(outputs, inputs)


def _select(module: nn.Module, name: str, kept: Tensor, dim: int) -> None:
    values = getattr(module, name, None)
    if values is None:
        return
    chosen = values.detach().index_select(dim, kept.to(values.device)).clone()
    if isinstance(values, nn.Parameter):
        setattr(module, name, nn.Parameter(chosen, requires_grad=values.requires_grad))
    else:
        setattr(module, name, chosen)
