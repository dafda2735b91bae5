"""Movement sparsity: of a linear layer the weights go that training moves towards zero; then whole neurons go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from offramp.compression.algorithms.algorithm import Algorithm, Compressor, Stage, Statistics, Workshop, register
from offramp.compression.exits import refreshed
from offramp.compression.groups import Group, find_groups
from offramp.compression.layers import Transform, add_transform, bake_transform, weight_in_use, weight_transform
from offramp.compression.masks import narrowed
from offramp.compression.scopes import selected
from offramp.compression.settings import setting
from offramp.compression.sparsity import compressible, importance, rate_of, rates_by_layer, threshold
from offramp.compression.stripping import kept_by_module, remove_channels
from offramp.errors import CompressionError

NAME = "movement_sparsity"


@register
@dataclass(frozen=True, kw_only=True)
class MovementSparsity(Algorithm):
    """Every weight w of a linear layer has a score s, and is there while s is above a threshold: `w [s > threshold]`.

    The gradient of s is that of the mask, straight through: s falls where training moves w towards zero. During the
    warm-up the threshold rises to its final value and a penalty `factor * mean sigmoid(s)` grows, both by a polynomial;
    afterwards masks are frozen and the penalty ends. Gradients of scores are multiplied by the number of scores, for
    the same reason as in `RbSparsity`.

    Args:
        warmup_start_epoch: epoch at which weights begin to go.
        warmup_end_epoch: epoch from which masks are frozen.
        importance_regularization_factor: of the penalty.
        init_importance_threshold: threshold at the start; not given: below all but one in a thousand scores.
        final_importance_threshold: threshold at the end.
        power: of the polynomial.
        steps_per_epoch: optimizer steps in an epoch; where given, threshold and penalty move at every step.
        enable_structured_masking: at the end of the warm-up, neurons that nobody makes or nobody reads any more go
            whole, and `shrink` removes them.
        compression_lr_multiplier: further factor of the scores' gradients.
        schedule: only this one.

    Differs from NNCF: heads of attention are masked but not removed; scores start at 1/100 of |w| / ||w|| instead of 0,
    which decides between weights that have not moved.

    Source: Sanh et al. 2020, "Movement Pruning" (arXiv 2005.07683); the settings are NNCF's.
    """

    order: ClassVar[int] = 20
    refuses: ClassVar[frozenset[str]] = frozenset({"const_sparsity", "magnitude_sparsity", "rb_sparsity"})
    rate_can_be_searched: ClassVar[bool] = True

    warmup_start_epoch: int = setting(least=0)
    warmup_end_epoch: int = setting(least=1)
    importance_regularization_factor: float = setting(least=0)
    init_importance_threshold: float | None = setting(None)
    final_importance_threshold: float = setting(0.0)
    power: float = setting(3.0, above=0)
    steps_per_epoch: int | None = setting(None, least=1)
    enable_structured_masking: bool = setting(True)
    compression_lr_multiplier: float = setting(1.0, at="compression_lr_multiplier", above=0)
    schedule: str = setting("threshold_polynomial_decay", choices=("threshold_polynomial_decay",))

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """See `Algorithm.conflicts`."""
        if self.warmup_end_epoch <= self.warmup_start_epoch:
            wanted = f"must be above warmup_start_epoch={self.warmup_start_epoch}"
            yield "warmup_end_epoch", f"{wanted}; it is {self.warmup_end_epoch}"

    def apply(self, model: nn.Module, workshop: Workshop) -> MovementSparsifier:
        """See `Algorithm.apply`."""
        layers = compressible(selected(model, (nn.Linear,), self.ignored_scopes, self.target_scopes), NAME)
        groups: list[Group] = []
        if self.enable_structured_masking:
            found = find_groups(model, workshop.example, (nn.Linear,)).groups
            groups = [g for g in found if all(c.module in layers for c in g.of_side("makes", "reads"))]
        return MovementSparsifier(self, model, layers, groups)

    def progress(self, epoch: float) -> float:
        """Share of the way from the first to the last threshold, in [0, 1]."""
        length = self.warmup_end_epoch - self.warmup_start_epoch
        done = min(max((epoch - self.warmup_start_epoch) / length, 0.0), 1.0)
        return float(1 - (1 - done) ** self.power)


class MovementMask(Transform):
    """`w [s > threshold]`.

    Args:
        weight: of the layer.
        factor: of the gradients of the scores.
    """

    threshold: Tensor

    def __init__(self, weight: Tensor, factor: float) -> None:
        super().__init__()
        self.scores = nn.Parameter(importance(weight, "normed_abs") / 100)
        self.register_buffer("threshold", weight.new_full((), -torch.inf))
        self.factor = factor

    def forward(self, values: Tensor) -> Tensor:
        """The weight with zeros."""
        there = (self.scores > self.threshold).to(values.dtype)
        if not self.scores.requires_grad:
            return values * there
        scaled = self.scores * self.factor
        return values * (there + (scaled - scaled.detach()))

    def narrow(self, kept_out: Tensor, kept_in: Tensor) -> None:
        """See `Transform.narrow`."""
        self.scores = nn.Parameter(narrowed(self.scores.detach(), kept_out, kept_in))


class MovementSparsifier(Compressor):
    """`MovementSparsity` at work.

    Args:
        settings: what was asked for.
        model: that holds the layers.
        layers: receive their scores.
        groups: neurons that may go whole.
    """

    def __init__(
        self, settings: MovementSparsity, model: nn.Module, layers: Mapping[str, Any], groups: list[Group]
    ) -> None:
        self.settings, self.model, self.names, self.groups = settings, model, tuple(layers), tuple(groups)
        self.epoch, self.steps, self.first = 0, 0, settings.init_importance_threshold
        self.fixed, self.frozen, self.rate = False, False, 0.0
        self.taken: dict[str, Tensor] = {}
        total = sum(layer.weight.numel() for layer in layers.values())
        for layer in layers.values():
            mask = MovementMask(layer.weight.detach(), total * settings.compression_lr_multiplier)
            add_transform(layer, NAME, mask)

    @property
    def stage(self) -> Stage:
        """See `Compressor.stage`."""
        if self.fixed or self.frozen:
            return Stage.FULLY
        return Stage.PARTLY if self.epoch > self.settings.warmup_start_epoch else Stage.UNCOMPRESSED

    def statistics(self) -> Statistics:
        """Shares of weights that are zero; no rate is asked for, unless one was set."""
        achieved = rate_of(self.model, self.names)
        nominal = self.rate if self.fixed else achieved
        gone = {g.name: float((~self.kept(self.model)[g.name]).float().mean()) for g in self.groups}
        return Statistics(nominal, achieved, rates_by_layer(self.model, self.names), gone)

    def loss(self) -> Tensor | float:
        """See `MovementSparsity`."""
        if self.frozen or self.fixed:
            return 0.0
        factor = self.settings.importance_regularization_factor * self.settings.progress(self._now())
        scores = [mask.scores for mask in self._masks(self.model)]
        mean = torch.stack([s.sigmoid().sum() for s in scores]).sum() / sum(s.numel() for s in scores)
        total = self._masks(self.model)[0].factor
        return factor * (mean.detach() + total * (mean - mean.detach()))

    def epoch_step(self, epoch: int) -> None:
        """See `Compressor.epoch_step`."""
        self.epoch, self.steps = epoch, 0
        self._follow()

    def step(self) -> None:
        """See `Compressor.step`."""
        if self.settings.steps_per_epoch is not None:
            self._follow()
            self.steps += 1

    def set_rate(self, rate: float) -> None:
        """See `Compressor.set_rate`; the weights with the lowest scores go."""
        if not 0 <= rate <= self.maximal_rate:
            raise CompressionError(f"movement_sparsity cannot be set to {rate:g}: the rate must be from 0 to 1.")
        self.fixed, self.rate = True, rate
        masks = self._masks(self.model)
        lowest = min(float(mask.scores.detach().min()) for mask in masks)
        limit = threshold((mask.scores.detach() - lowest for mask in masks), rate) + lowest
        self._set(limit if rate > 0 else -torch.inf)

    def bake(self, model: nn.Module) -> None:
        """See `Compressor.bake`; remembers which neurons `shrink` has to take out."""
        self.taken = self.kept(model)
        for name in self.names:
            bake_transform(model.get_submodule(name), NAME)

    def shrink(self, model: nn.Module) -> nn.Module:
        """Removes neurons that nobody reads; one of a group always stays."""
        remove_channels(model, self.groups, self.taken)
        return refreshed(model)

    def kept(self, model: nn.Module) -> dict[str, Tensor]:
        """Bool `[channels]` of every group: which neurons anybody reads."""
        found: dict[str, Tensor] = {}
        for group in self.groups:
            kept = torch.zeros(group.channels, dtype=torch.bool)
            for coupling in group.of_side("reads"):
                used = (weight_in_use(model.get_submodule(coupling.module)) != 0).any(0).cpu()
                kept[torch.tensor(coupling.roots)] |= used[list(coupling.channels)]
            kept[0] |= not bool(kept.any())
            found[group.name] = kept
        return found

    def state_dict(self) -> dict[str, Any]:
        """See `Compressor.state_dict`; scores and thresholds are in the model's."""
        names = ("epoch", "steps", "first", "fixed", "frozen", "rate")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Compressor.load_state_dict`."""
        for name, value in state.items():
            setattr(self, name, value)
        for mask in self._masks(self.model):
            mask.scores.requires_grad_(not self.frozen)

    def _now(self) -> float:
        return self.epoch + self.steps / (self.settings.steps_per_epoch or 1)

    def _follow(self) -> None:
        now = self._now()
        if self.fixed or self.frozen or now < self.settings.warmup_start_epoch:
            return
        if self.first is None:
            together = torch.cat([mask.scores.detach().flatten() for mask in self._masks(self.model)])
            self.first = float(together.kthvalue(int(0.001 * (len(together) - 1)) + 1).values)
        last = self.settings.final_importance_threshold
        self._set(self.first + (last - self.first) * self.settings.progress(now))
        if now >= self.settings.warmup_end_epoch:
            self._freeze()

    def _freeze(self) -> None:
        """Masks as they are, but whole neurons gone where they are of no use."""
        self.frozen = True
        for group in self.groups:
            kept = self.kept(self.model)[group.name] & self._made(group)
            kept[0] |= not bool(kept.any())
            for name, (outputs, inputs) in kept_by_module(self.model, [group], {group.name: kept}).items():
                if name in self.names:
                    self._silence(name, outputs, inputs)
        for mask in self._masks(self.model):
            mask.scores.requires_grad_(False)

    def _made(self, group: Group) -> Tensor:
        """Bool `[channels]`: which neurons anybody makes."""
        made = torch.zeros(group.channels, dtype=torch.bool)
        for coupling in group.of_side("makes"):
            used = (weight_in_use(self.model.get_submodule(coupling.module)) != 0).any(1).cpu()
            made[torch.tensor(coupling.roots)] |= used[list(coupling.channels)]
        return made

    def _silence(self, name: str, outputs: Tensor, inputs: Tensor) -> None:
        mask = weight_transform(self.model.get_submodule(name), NAME)
        there = (outputs[:, None] & inputs[None, :]).to(mask.scores.device)
        with torch.no_grad():
            mask.scores.masked_fill_(~there, -torch.inf)

    def _set(self, limit: float) -> None:
        for mask in self._masks(self.model):
            mask.threshold.fill_(limit)

    def _masks(self, model: nn.Module) -> list[MovementMask]:
        return [weight_transform(model.get_submodule(name), NAME) for name in self.names]
