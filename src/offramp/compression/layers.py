"""Layers whose weights and inputs pass through transforms before they are used: masks, quantizers, binarizers.

`add_transform` turns a plain layer into its transformed twin *in place*, by changing the class of the object: its name,
its parameters, hooks, and whoever refers to it stay as they were, and nothing of torch is patched. The twins are
ordinary classes of this module, so models are pickled, copied, traced and compiled as before; torch's own
parametrizations cannot be pickled. `remove_transform` turns the layer back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from offramp.errors import CompressionError

WEIGHTS = "weight_transforms"
INPUTS = "input_transforms"


class Transform(nn.Module, ABC):
    """A tensor in, one of the same shape out; what it learns or keeps is in the model's state dict."""

    @abstractmethod
    def forward(self, values: Tensor) -> Tensor:
        """The values as the layer uses them."""

    def present(self, weight: Tensor) -> Tensor | None:
        """For transforms that take whole channels away: bool like `weight`, what is left; None for all of it."""
        return None

    def narrow(self, kept_out: Tensor, kept_in: Tensor) -> None:
        """Follows its layer when channels are removed; indices of the outputs and inputs that stay."""


def transform_inputs(layer: nn.Module, values: Tensor) -> Tensor:
    """What a layer reads, as it is used."""
    stack: Any = getattr(layer, INPUTS)
    for transform in stack.values():
        values = transform(values)
    return values


class _Transformed:
    """What the twins share."""

    weight_transforms: nn.ModuleDict

    def transformed_weight(self) -> Tensor:
        """The weight as it is used."""
        weight: Tensor = getattr(self, "weight")  # noqa: B009 - declared by the torch class beside this one
        for transform in self.weight_transforms.values():
            weight = transform(weight)
        return weight


class TransformedLinear(_Transformed, nn.Linear):
    """`nn.Linear` with transforms."""

    def forward(self, input: Tensor) -> Tensor:
        """`[..., in_features]` to `[..., out_features]`."""
        return F.linear(transform_inputs(self, input), self.transformed_weight(), self.bias)


class TransformedConv1d(_Transformed, nn.Conv1d):
    """`nn.Conv1d` with transforms."""

    def forward(self, input: Tensor) -> Tensor:
        """`[n, channels, length]` to the same with other sizes."""
        found: Tensor = self._conv_forward(transform_inputs(self, input), self.transformed_weight(), self.bias)
        return found


class TransformedConv2d(_Transformed, nn.Conv2d):
    """`nn.Conv2d` with transforms."""

    def forward(self, input: Tensor) -> Tensor:
        """`[n, channels, h, w]` to the same with other sizes."""
        found: Tensor = self._conv_forward(transform_inputs(self, input), self.transformed_weight(), self.bias)
        return found


class TransformedConv3d(_Transformed, nn.Conv3d):
    """`nn.Conv3d` with transforms."""

    def forward(self, input: Tensor) -> Tensor:
        """`[n, channels, d, h, w]` to the same with other sizes."""
        found: Tensor = self._conv_forward(transform_inputs(self, input), self.transformed_weight(), self.bias)
        return found


TWINS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: TransformedLinear,
    nn.Conv1d: TransformedConv1d,
    nn.Conv2d: TransformedConv2d,
    nn.Conv3d: TransformedConv3d,
}
"""Exactly these classes: a subclass may compute something else in its own `forward`, which a twin would lose."""

_PLAIN = {twin: plain for plain, twin in TWINS.items()}
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
LAYERS = (nn.Linear, *CONVOLUTIONS)
"""For `offramp.compression.scopes.selected`."""


def can_transform(module: nn.Module) -> bool:
    """Whether the module is a linear layer or convolution of torch itself, with transforms already or without."""
    return type(module) in TWINS or type(module) in _PLAIN


def add_transform(layer: nn.Module, name: str, transform: Transform, *, on: str = WEIGHTS) -> None:
    """Makes the layer use its weight, or its input, through one more transform, after those it has.

    Args:
        layer: `nn.Linear`, `nn.Conv1d`, `nn.Conv2d` or `nn.Conv3d`; becomes its twin.
        name: of the transform within the layer, the algorithm's name.
        transform: what to add.
        on: `WEIGHTS` or `INPUTS`.

    Raises:
        CompressionError: the layer is of another class, or has a transform of that name.

    Example:
        >>> class Halved(Transform):
        ...     def forward(self, values):
        ...         return values / 2
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> before = layer(torch.ones(1, 1))
        >>> add_transform(layer, "halved", Halved())
        >>> bool((layer(torch.ones(1, 1)) == before / 2).all())
        True
    """
    if not can_transform(layer):
        raise CompressionError(
            f"A {type(layer).__name__} cannot be compressed; layers must be exactly one of "
            f"{', '.join(kind.__name__ for kind in TWINS)}. Leave it out with ignored_scopes."
        )
    if type(layer) in TWINS:
        layer.__class__ = TWINS[type(layer)]
        layer.add_module(WEIGHTS, nn.ModuleDict())
        layer.add_module(INPUTS, nn.ModuleDict())
    stack: Any = layer.get_submodule(on)
    if name in stack:
        raise CompressionError(f"The layer already has a transform '{name}'; the same algorithm is applied only once.")
    transform.train(layer.training)
    stack[name] = transform


def remove_transform(layer: nn.Module, name: str) -> None:
    """Takes the transforms of this name off weight and input; a layer without any is plain again."""
    stacks: list[Any] = [getattr(layer, WEIGHTS), getattr(layer, INPUTS)]
    for stack in stacks:
        if name in stack:
            del stack[name]
    if not any(len(stack) for stack in stacks):
        del layer.weight_transforms, layer.input_transforms
        layer.__class__ = _PLAIN[type(layer)]


def bake_transform(layer: nn.Module, name: str) -> None:
    """Writes what a weight transform gives into the weight itself, and takes it off."""
    transform: Any = getattr(layer, WEIGHTS)[name]
    weight: Any = layer.weight
    with torch.no_grad():
        weight.copy_(transform(weight))
    remove_transform(layer, name)


def weight_transform(layer: nn.Module, name: str) -> Any:
    """The weight transform of this name."""
    return getattr(layer, WEIGHTS)[name]


def transforms_of(layer: nn.Module) -> Iterator[Transform]:
    """Every transform of a layer, those of the weight first."""
    for stack in (getattr(layer, WEIGHTS, None), getattr(layer, INPUTS, None)):
        if isinstance(stack, nn.ModuleDict):
            yield from stack.values()  # type: ignore[misc]


def weight_in_use(layer: nn.Module) -> Tensor:
    """The weight as it is used, without gradients."""
    with torch.no_grad():
        found: Tensor = layer.transformed_weight() if isinstance(layer, _Transformed) else layer.weight  # type: ignore[assignment]
        return found.detach()


def entries_present(layer: nn.Module) -> Tensor:
    """Bool like the layer's weight: False where a whole channel is taken away, so that the entry will not be there."""
    weight: Any = layer.weight
    there = torch.ones_like(weight, dtype=torch.bool)
    for transform in transforms_of(layer):
        found = transform.present(weight)
        if found is not None:
            there &= found
    return there
