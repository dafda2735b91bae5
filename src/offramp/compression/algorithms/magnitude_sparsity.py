"""Magnitude sparsity: the weights nearest to zero become zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from offramp.compression.algorithms.algorithm import Compressor, Stage, Statistics, Workshop, register
from offramp.compression.layers import LAYERS, add_transform, bake_transform, weight_transform
from offramp.compression.masks import WeightMask
from offramp.compression.scopes import selected
from offramp.compression.settings import setting
from offramp.compression.sparsity import compressible, rate_of, rates_by_layer, scored, threshold
from offramp.compression.sparsity_settings import ScheduledSparsity
from offramp.errors import CompressionError

NAME = "magnitude_sparsity"


@register
@dataclass(frozen=True, kw_only=True)
class MagnitudeSparsity(ScheduledSparsity):
    """Zeroes the share of weights with the least importance, anew in every epoch until the rate is frozen.

    Args:
        weight_importance: "normed_abs": |w| / ||w|| of its layer; "abs": |w|.

    See `ScheduledSparsity` for the others.
    """

    order: ClassVar[int] = 20
    refuses: ClassVar[frozenset[str]] = frozenset({"const_sparsity", "rb_sparsity", "movement_sparsity"})
    rate_can_be_searched: ClassVar[bool] = True

    weight_importance: str = setting("normed_abs", choices=("normed_abs", "abs"))

    def apply(self, model: nn.Module, workshop: Workshop) -> MagnitudeSparsifier:
        """See `Algorithm.apply`."""
        layers = compressible(selected(model, LAYERS, self.ignored_scopes, self.target_scopes), NAME)
        return MagnitudeSparsifier(self, model, layers)


class MagnitudeSparsifier(Compressor):
    """`MagnitudeSparsity` at work.

    Args:
        settings: what was asked for.
        model: that holds the layers.
        layers: receive their masks.
    """

    def __init__(self, settings: MagnitudeSparsity, model: nn.Module, layers: Mapping[str, Any]) -> None:
        self.settings, self.model, self.names = settings, model, tuple(layers)
        self.schedule = settings.rates()
        self.fixed = False
        self.epoch, self.steps = 0, 0
        for layer in layers.values():
            add_transform(layer, NAME, WeightMask(layer.weight.detach()))
        self._move(settings.initial_rate)

    @property
    def stage(self) -> Stage:
        """See `Compressor.stage`."""
        if self.fixed or self.rate >= self.settings.target_rate - 1e-9:
            return Stage.FULLY
        return Stage.PARTLY if self.rate > 0 else Stage.UNCOMPRESSED

    def statistics(self) -> Statistics:
        """Shares of weights that are zero, among those that are there."""
        achieved = rate_of(self.model, self.names)
        return Statistics(self.rate, achieved, rates_by_layer(self.model, self.names))

    def epoch_step(self, epoch: int) -> None:
        """See `Compressor.epoch_step`."""
        self.epoch, self.steps = epoch, 0
        self._follow(float(epoch))

    def step(self) -> None:
        """See `Compressor.step`."""
        if self.settings.update_per_optimizer_step and self.settings.steps_per_epoch is not None:
            share = min(self.steps / self.settings.steps_per_epoch, 1.0)
            self.steps += 1
            self._follow(self.epoch + share)

    def set_rate(self, rate: float) -> None:
        """See `Compressor.set_rate`."""
        if not 0 <= rate <= self.maximal_rate:
            raise CompressionError(f"magnitude_sparsity cannot be set to {rate:g}: the rate must be from 0 to 1.")
        self.fixed = True
        self._move(rate)

    def bake(self, model: nn.Module) -> None:
        """See `Compressor.bake`."""
        for name in self.names:
            bake_transform(model.get_submodule(name), NAME)

    def state_dict(self) -> dict[str, Any]:
        """See `Compressor.state_dict`; the masks are in the model's."""
        return {"rate": self.rate, "fixed": self.fixed, "epoch": self.epoch, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Compressor.load_state_dict`."""
        self.rate, self.fixed = float(state["rate"]), bool(state["fixed"])
        self.epoch, self.steps = int(state["epoch"]), int(state["steps"])

    def _follow(self, epoch: float) -> None:
        if not self.fixed and epoch < max(self.settings.sparsity_freeze_epoch, 1):
            self._move(self.schedule.rate(epoch))

    def _move(self, rate: float) -> None:
        self.rate = rate
        found = list(scored(self.model, self.names, self.settings.weight_importance))
        overall = threshold((scores[there] for _, scores, there in found), rate)
        local = self.settings.sparsity_level_setting_mode == "local"
        for name, scores, there in found:
            limit = threshold([scores[there]], rate) if local else overall
            weight_transform(self.model.get_submodule(name), NAME).mask.copy_(scores > limit)
