"""Low rank: a wide layer becomes two narrow ones, the best that its singular values allow."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from offramp.compression.algorithms.algorithm import Algorithm, Compressor, Stage, Statistics, Workshop, register
from offramp.compression.exits import refreshed
from offramp.compression.layers import CONVOLUTIONS, LAYERS
from offramp.compression.scopes import selected
from offramp.compression.settings import rate, setting
from offramp.errors import CompressionError

NAME = "low_rank"


@register
@dataclass(frozen=True, kw_only=True)
class LowRank(Algorithm):
    """Replaces a layer of weight W `[out, in * kernel]` by two of the rank r that leaves a share of its parameters.

    `W = U S V'`; the first layer has the kernel `sqrt(S) V'` and r outputs, the second, of kernel 1, `U sqrt(S)`. No
    other pair of that rank is nearer to W (Eckart and Young). Layers that would not become smaller stay.

    Args:
        parameters_target: share of each layer's parameters to be taken away.
        num_bn_adaptation_samples: see `offramp.compression.batch_norm`.

    A layer `conv` becomes `conv.first` and `conv.second`. It is applied at once; training is up to the loop.

    Source: Denton et al. 2014 (arXiv 1404.0736); the form for convolutions is that of Zhang et al. 2015
    (arXiv 1411.4229). NNCF has nothing like it for training.
    """

    order: ClassVar[int] = 5

    parameters_target: float = rate(0.5)
    num_bn_adaptation_samples: int = setting(
        2000, at="initializer.batchnorm_adaptation.num_bn_adaptation_samples", least=0
    )

    @property
    def target_rate(self) -> float:
        """Of the parameters of the layers it works on."""
        return self.parameters_target

    @property
    def batch_norm_samples(self) -> int:
        """See `Algorithm.batch_norm_samples`."""
        return self.num_bn_adaptation_samples

    def apply(self, model: nn.Module, workshop: Workshop) -> Factoriser:
        """See `Algorithm.apply`."""
        layers = dict(self._divisible(selected(model, LAYERS, self.ignored_scopes, self.target_scopes)))
        if not layers:
            raise CompressionError(
                f"low_rank finds no layer that would become smaller by {self.parameters_target:g}: layers must be "
                "linear or convolutions without groups, and not the whole model."
            )
        before = sum(layer.weight.numel() for layer in layers.values())
        for name, layer in layers.items():
            model.set_submodule(name, factored(layer, self.rank_of(layer)))
        return Factoriser(self, model, tuple(layers), before)

    def rank_of(self, layer: Any) -> int:
        """The largest rank that takes the share away; 0 where not even rank 1 does."""
        outputs, inputs = layer.weight.flatten(1).shape
        return int((1 - self.parameters_target) * outputs * inputs / (outputs + inputs))

    def _divisible(self, layers: Mapping[str, nn.Module]) -> Iterator[tuple[str, Any]]:
        for name, layer in layers.items():
            plain = type(layer) is nn.Linear or (type(layer) in CONVOLUTIONS and layer.groups == 1)
            if name and plain and self.rank_of(layer) >= 1:
                yield name, layer


class Factoriser(Compressor):
    """`LowRank`, done.

    Args:
        settings: what was asked for.
        model: that holds the pairs.
        names: of the layers that were replaced.
        before: parameters of their weights.
    """

    def __init__(self, settings: LowRank, model: nn.Module, names: tuple[str, ...], before: int) -> None:
        self.settings, self.model, self.names, self.before = settings, model, names, before
        self.maximal_rate = self._gone()

    @property
    def stage(self) -> Stage:
        """Nothing is left to do."""
        return Stage.FULLY

    def statistics(self) -> Statistics:
        """Share of the parameters that are gone."""
        ranks = {name: float(self._weights(name)[1].shape[1]) for name in self.names}
        return Statistics(self.settings.parameters_target, self._gone(), details=ranks)

    def shrink(self, model: nn.Module) -> nn.Module:
        """The model is small already."""
        return refreshed(model)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the pairs are in the model's."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to load."""

    def _gone(self) -> float:
        return 1 - sum(w.numel() for name in self.names for w in self._weights(name)) / self.before

    def _weights(self, name: str) -> tuple[Tensor, Tensor]:
        pair: Any = self.model.get_submodule(name)
        return pair.first.weight, pair.second.weight


def factored(layer: Any, rank: int) -> nn.Sequential:
    """The pair of layers of a rank that is nearest to a layer; at full rank they are the same as the layer.

    Example:
        >>> layer = nn.Conv2d(4, 6, 3, padding=1)
        >>> x = torch.randn(2, 4, 5, 5)
        >>> bool(torch.allclose(factored(layer, 6)(x), layer(x), atol=1e-5))
        True
    """
    weight = layer.weight.detach()
    rank = min(rank, *weight.flatten(1).shape)
    left, values, right = torch.linalg.svd(weight.flatten(1), full_matrices=False)
    root = values[:rank].sqrt()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        first, second = _pair(layer, rank)
        first.weight.copy_((root[:, None] * right[:rank]).view_as(first.weight))
        second.weight.copy_((left[:, :rank] * root).view_as(second.weight))
        if layer.bias is not None:
            second.bias.copy_(layer.bias)
    pair = nn.Sequential(OrderedDict(first=first, second=second)).to(weight.device, weight.dtype)
    return pair.train(layer.training)


def _pair(layer: Any, rank: int) -> tuple[Any, Any]:
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features, bias=bias)
    geometry = {key: getattr(layer, key) for key in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
    first = type(layer)(layer.in_channels, rank, bias=False, **geometry)
    return first, type(layer)(rank, layer.out_channels, 1, bias=bias)
