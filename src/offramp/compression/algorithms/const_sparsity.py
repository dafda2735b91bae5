"""Constant sparsity: the zeros that a model has when it comes stay zeros while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from offramp.compression.algorithms.algorithm import Algorithm, Compressor, Stage, Statistics, Workshop, register
from offramp.compression.layers import LAYERS, add_transform, bake_transform
from offramp.compression.masks import WeightMask
from offramp.compression.scopes import selected
from offramp.compression.sparsity import compressible, rate_of, rates_by_layer
from offramp.errors import CompressionError

NAME = "const_sparsity"


@register
@dataclass(frozen=True, kw_only=True)
class ConstSparsity(Algorithm):
    """Keeps every weight at zero that is zero now."""

    order: ClassVar[int] = 20
    refuses: ClassVar[frozenset[str]] = frozenset({"magnitude_sparsity", "rb_sparsity", "movement_sparsity"})

    def apply(self, model: nn.Module, workshop: Workshop) -> ZeroKeeper:
        """See `Algorithm.apply`."""
        layers = compressible(selected(model, LAYERS, self.ignored_scopes, self.target_scopes), NAME)
        if not any(bool((layer.weight == 0).any()) for layer in layers.values()):
            raise CompressionError("const_sparsity keeps zeros, and no weight of this model is zero. Leave it out.")
        return ZeroKeeper(model, layers)


class ZeroKeeper(Compressor):
    """`ConstSparsity` at work.

    Args:
        model: that holds the layers.
        layers: receive their masks.
    """

    def __init__(self, model: nn.Module, layers: Mapping[str, Any]) -> None:
        self.model, self.names = model, tuple(layers)
        for layer in layers.values():
            mask = WeightMask(layer.weight.detach())
            mask.mask.copy_(layer.weight.detach() != 0)
            add_transform(layer, NAME, mask)
        self.maximal_rate = rate_of(model, self.names)

    @property
    def stage(self) -> Stage:
        """Nothing is left to do."""
        return Stage.FULLY

    def statistics(self) -> Statistics:
        """Share of weights that are zero."""
        achieved = rate_of(self.model, self.names)
        return Statistics(self.maximal_rate, achieved, rates_by_layer(self.model, self.names))

    def bake(self, model: nn.Module) -> None:
        """See `Compressor.bake`."""
        for name in self.names:
            bake_transform(model.get_submodule(name), NAME)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the masks are in the model's."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to load."""
