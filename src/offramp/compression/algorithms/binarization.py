"""Binarization: weights of two values, and activations of two values, for convolutions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from offramp.compression.algorithms.algorithm import Algorithm, Compressor, Stage, Statistics, Workshop, register
from offramp.compression.layers import (
    CONVOLUTIONS,
    INPUTS,
    Transform,
    add_transform,
    bake_transform,
    weight_transform,
)
from offramp.compression.rounding import along
from offramp.compression.scopes import selected
from offramp.compression.settings import setting
from offramp.compression.sparsity import compressible

NAME = "binarization"
ACTIVATIONS = "binarization_of_inputs"


@register
@dataclass(frozen=True, kw_only=True)
class Binarization(Algorithm):
    """Weights become `a sign(w)`, inputs `s [x > t s]`, with s and t learned; gradients pass straight through.

    Activations begin first, then weights. First and last layers are best ignored.

    Args:
        mode: "xnor": a is the mean of |w| over each filter; "dorefa": over the whole layer.
        activations_bin_start_epoch: epoch from which activations have two values.
        weights_bin_start_epoch: the same for weights.

    After `bake` the weights are their two values, stored as floats: there are no kernels for single bits here.

    Source: XNOR-Net (arXiv 1603.05279), DoReFa-Net (arXiv 1606.06160); the settings are NNCF's, of its release 2.9.
    """

    order: ClassVar[int] = 30
    refuses: ClassVar[frozenset[str]] = frozenset({"quantization"})

    mode: str = setting("xnor", at="mode", choices=("xnor", "dorefa"))
    activations_bin_start_epoch: int = setting(1, least=0)
    weights_bin_start_epoch: int = setting(3, least=0)

    def apply(self, model: nn.Module, workshop: Workshop) -> Binarizer:
        """See `Algorithm.apply`."""
        layers = compressible(selected(model, CONVOLUTIONS, self.ignored_scopes, self.target_scopes), NAME)
        binarizer = Binarizer(self, model, layers)
        binarizer.epoch_step(0)
        return binarizer


class WeightSigns(Transform):
    """`a sign(w)`, with sign(0) = 1; the gradient of w passes as it is.

    Args:
        per_filter: whether each filter has an a of its own.
    """

    def __init__(self, per_filter: bool) -> None:
        super().__init__()
        self.per_filter, self.enabled = per_filter, False

    def forward(self, values: Tensor) -> Tensor:
        """The weight of two values."""
        if not self.enabled:
            return values
        size = values.detach().abs().flatten(1).mean(1)
        size = size if self.per_filter else size.mean().expand_as(size)
        signs = torch.where(values >= 0, 1.0, -1.0).to(values.dtype) * along(size, values)
        return signs + (values - values.detach())


class InputSteps(Transform):
    """`s [x > t s]`; s starts as twice the mean of what is positive in the first batch, t as 1/2.

    Gradients pass where the step is less than half of s away.
    """

    started: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.size = nn.Parameter(torch.ones(()))
        self.threshold = nn.Parameter(torch.full((), 0.5))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))
        self.enabled = False

    def forward(self, values: Tensor) -> Tensor:
        """The input of two values."""
        if not self.enabled:
            return values
        if self.training and not bool(self.started):
            with torch.no_grad():
                self.size.fill_(float(2 * values.clamp(min=0).mean().clamp(min=1e-3)))
                self.started.fill_(True)
        near = (values / self.size - self.threshold + 0.5).clamp(0, 1)
        return self.size * ((near > 0.5).to(near.dtype) + (near - near.detach()))


class Binarizer(Compressor):
    """`Binarization` at work.

    Args:
        settings: what was asked for.
        model: that holds the layers.
        layers: convolutions; receive their binarizers.
    """

    def __init__(self, settings: Binarization, model: nn.Module, layers: Mapping[str, Any]) -> None:
        self.settings, self.model, self.names = settings, model, tuple(layers)
        self.epoch = 0
        for layer in layers.values():
            add_transform(layer, NAME, WeightSigns(settings.mode == "xnor"))
            add_transform(layer, ACTIVATIONS, InputSteps().to(layer.weight.device), on=INPUTS)

    @property
    def stage(self) -> Stage:
        """See `Compressor.stage`."""
        started = list(self._started())
        return Stage.FULLY if all(started) else Stage.PARTLY if any(started) else Stage.UNCOMPRESSED

    def statistics(self) -> Statistics:
        """It has no rate; in the details the share of the convolutions' weights that have two values."""
        weights: list[Any] = [m.weight for m in self.model.modules() if isinstance(m, CONVOLUTIONS)]
        ours: list[Any] = [self.model.get_submodule(name).weight for name in self.names]
        share = sum(w.numel() for w in ours) / sum(w.numel() for w in weights)
        return Statistics(None, None, details={"binary_weights": share * self._weights_started()})

    def epoch_step(self, epoch: int) -> None:
        """Begins to binarize what is due."""
        self.epoch = epoch
        activations, weights = self._started()
        for name in self.names:
            layer: Any = self.model.get_submodule(name)
            weight_transform(layer, NAME).enabled = weights
            getattr(layer, INPUTS)[ACTIVATIONS].enabled = activations

    def bake(self, model: nn.Module) -> None:
        """Leaves weights of two values; the steps on the inputs stay."""
        for name in self.names:
            bake_transform(model.get_submodule(name), NAME)

    def state_dict(self) -> dict[str, Any]:
        """See `Compressor.state_dict`."""
        return {"epoch": self.epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Compressor.load_state_dict`."""
        self.epoch_step(int(state["epoch"]))

    def _started(self) -> Iterator[bool]:
        yield self.epoch >= self.settings.activations_bin_start_epoch
        yield self._weights_started()

    def _weights_started(self) -> bool:
        return self.epoch >= self.settings.weights_bin_start_epoch
