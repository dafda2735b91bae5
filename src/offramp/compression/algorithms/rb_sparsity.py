"""Regularisation-based (RB) sparsity: which weights stay is learned, and a penalty drives the rate to its target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from offramp.compression.algorithms.algorithm import Compressor, Stage, Statistics, Workshop, register
from offramp.compression.layers import LAYERS, Transform, add_transform, bake_transform, weight_transform
from offramp.compression.masks import narrowed
from offramp.compression.scopes import selected
from offramp.compression.settings import setting
from offramp.compression.sparsity import compressible, importance, rate_of, rates_by_layer, threshold
from offramp.compression.sparsity_settings import ScheduledSparsity
from offramp.errors import CompressionError

NAME = "rb_sparsity"
START = 4.59512
"""Logit of 0.99, the probability with which a weight is there at first."""
WIDTH = 0.05
"""Deviation from the target at which the penalty is 1."""
NEAR = 0.03
"""Deviation within which a rate counts as reached."""
STEP = 0.05
"""Of the adaptive schedule."""


@register
@dataclass(frozen=True, kw_only=True)
class RbSparsity(ScheduledSparsity):
    """Every weight w has a logit s. Training uses `w [s + logit(u) > 0]`, u uniform; evaluation `w [s > 0]`.

    The loss is `((mean [s > 0] - (1 - rate)) / 0.05)^2`, over all layers or for each ("local", then averaged).
    Gradients go straight through the steps to sigmoid(.); those of the logits are multiplied by the number of weights
    in the mean, which would divide them by it, so that no rate would ever be reached by stochastic gradient descent.

    Args:
        compression_lr_multiplier: further factor of the logits' gradients.

    The rate counts as reached where it is achieved within 0.03. `set_rate` achieves it at once: the weights with the
    largest logits get probability 0.99, the others 0.01. See `ScheduledSparsity` for the other settings.

    Source: NNCF's rb_sparsity, after Srinivas et al. 2017 (arXiv 1611.06694); but for the factor.
    """

    order: ClassVar[int] = 20
    refuses: ClassVar[frozenset[str]] = frozenset({"const_sparsity", "magnitude_sparsity", "movement_sparsity"})
    rate_can_be_searched: ClassVar[bool] = True

    schedule: str = setting("exponential", choices=("polynomial", "exponential", "multistep", "adaptive"))
    compression_lr_multiplier: float = setting(1.0, at="compression_lr_multiplier", above=0)

    def apply(self, model: nn.Module, workshop: Workshop) -> RbSparsifier:
        """See `Algorithm.apply`."""
        layers = compressible(selected(model, LAYERS, self.ignored_scopes, self.target_scopes), NAME)
        return RbSparsifier(self, model, layers)


class RandomMask(Transform):
    """`w [s + logit(u) > 0]` in training, `w [s > 0]` in evaluation and once frozen.

    Args:
        weight: of the layer.
        factor: of the gradients of the logits.
    """

    def __init__(self, weight: Tensor, factor: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.full_like(weight, START))
        self.factor = factor
        self.frozen = False

    def forward(self, values: Tensor) -> Tensor:
        """The weight with zeros."""
        if not self.training or self.frozen:
            return values * (self.logits > 0)
        noise = torch.rand_like(self.logits).clamp(1e-6, 1 - 1e-6).logit()
        return values * _step(_scaled(self.logits, self.factor) + noise)

    def density(self) -> Tensor:
        """How many weights are there, with gradients."""
        return _step(_scaled(self.logits, self.factor)).sum()

    def narrow(self, kept_out: Tensor, kept_in: Tensor) -> None:
        """See `Transform.narrow`."""
        self.logits = nn.Parameter(narrowed(self.logits.detach(), kept_out, kept_in))


class RbSparsifier(Compressor):
    """`RbSparsity` at work.

    Args:
        settings: what was asked for.
        model: that holds the layers.
        layers: receive their logits.
    """

    def __init__(self, settings: RbSparsity, model: nn.Module, layers: Mapping[str, Any]) -> None:
        self.settings, self.model, self.names = settings, model, tuple(layers)
        self.schedule = settings.rates()
        self.rate = settings.initial_rate
        self.fixed, self.frozen, self.waited = False, False, 0
        total = sum(layer.weight.numel() for layer in layers.values())
        for layer in layers.values():
            local = settings.sparsity_level_setting_mode == "local"
            count = len(layers) * layer.weight.numel() if local else total
            mask = RandomMask(layer.weight.detach(), count * settings.compression_lr_multiplier)
            add_transform(layer, NAME, mask)

    @property
    def stage(self) -> Stage:
        """By what is achieved, not by what is asked for."""
        achieved = self.statistics().achieved or 0.0
        if self.fixed or achieved >= self.settings.target_rate - NEAR:
            return Stage.FULLY
        return Stage.PARTLY if achieved > 0 else Stage.UNCOMPRESSED

    def statistics(self) -> Statistics:
        """Shares of weights that are zero in evaluation."""
        modes = [(mask, mask.training) for mask in self._masks(self.model)]
        for mask, _ in modes:
            mask.training = False
        found = Statistics(self.rate, rate_of(self.model, self.names), rates_by_layer(self.model, self.names))
        for mask, mode in modes:
            mask.training = mode
        return found

    def loss(self) -> Tensor | float:
        """See `RbSparsity`."""
        if self.frozen:
            return 0.0
        masks = list(self._masks(self.model))
        if self.settings.sparsity_level_setting_mode == "local":
            return torch.stack([self._penalty(m.density() / m.logits.numel()) for m in masks]).mean()
        there = torch.stack([m.density() for m in masks]).sum() / sum(m.logits.numel() for m in masks)
        return self._penalty(there)

    def epoch_step(self, epoch: int) -> None:
        """See `Compressor.epoch_step`."""
        if epoch >= max(self.settings.sparsity_freeze_epoch, 1):
            self._freeze()
        elif not self.fixed:
            self.rate = self._adapted() if self.settings.schedule == "adaptive" else self.schedule.rate(epoch)

    def set_rate(self, rate: float) -> None:
        """See `Compressor.set_rate`; weights with equal logits go by their magnitude."""
        if not 0 <= rate <= self.maximal_rate:
            raise CompressionError(f"rb_sparsity cannot be set to {rate:g}: the rate must be from 0 to 1.")
        self.fixed, self.rate = True, rate
        scores = {name: self._scores(name) for name in self.names}
        overall = threshold(scores.values(), rate)
        for name, mask in zip(self.names, self._masks(self.model), strict=True):
            local = self.settings.sparsity_level_setting_mode == "local"
            limit = threshold([scores[name]], rate) if local else overall
            with torch.no_grad():
                mask.logits.copy_(torch.where(scores[name] > limit, START, -START))

    def bake(self, model: nn.Module) -> None:
        """See `Compressor.bake`."""
        for mask in self._masks(model):
            mask.eval()
        for name in self.names:
            bake_transform(model.get_submodule(name), NAME)

    def state_dict(self) -> dict[str, Any]:
        """See `Compressor.state_dict`; the logits are in the model's."""
        return {"rate": self.rate, "fixed": self.fixed, "frozen": self.frozen, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Compressor.load_state_dict`."""
        self.rate, self.fixed, self.waited = float(state["rate"]), bool(state["fixed"]), int(state["waited"])
        if state["frozen"]:
            self._freeze()

    def _penalty(self, there: Tensor) -> Tensor:
        return ((there - (1 - self.rate)) / WIDTH).square()

    def _adapted(self) -> float:
        """A step further once the rate has been reached for `patience` epochs."""
        reached = (self.statistics().achieved or 0.0) >= self.rate - NEAR
        self.waited = self.waited + 1 if reached else self.waited
        if self.waited < self.settings.patience:
            return self.rate
        self.waited = 0
        return min(self.settings.target_rate, self.rate + STEP)

    def _freeze(self) -> None:
        self.frozen = True
        for mask in self._masks(self.model):
            mask.frozen = True
            mask.logits.requires_grad_(False)

    def _scores(self, name: str) -> Tensor:
        layer: Any = self.model.get_submodule(name)
        logits = layer.weight_transforms[NAME].logits.detach().double()
        # Thresholds count from 0 upwards, and what logits leave undecided the magnitude decides.
        scores: Tensor = logits + 1000 + 1e-2 * importance(layer.weight, "normed_abs").double()
        return scores

    def _masks(self, model: nn.Module) -> list[RandomMask]:
        return [weight_transform(model.get_submodule(name), NAME) for name in self.names]


def _step(values: Tensor) -> Tensor:
    """`[values > 0]` with the gradient of the sigmoid."""
    soft = values.sigmoid()
    return (values > 0).to(soft.dtype) + (soft - soft.detach())


def _scaled(values: Tensor, factor: float) -> Tensor:
    """The same values, with gradients that are multiplied."""
    return values.detach() + factor * (values - values.detach())
