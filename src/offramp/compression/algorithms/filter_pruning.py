"""Filter pruning: whole channels go, the least important first, and with them time and memory."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from offramp.compression.algorithms.algorithm import Algorithm, Compressor, Stage, Statistics, Workshop, register
from offramp.compression.channel_selection import (
    Kept,
    Scores,
    Sizes,
    filter_scores,
    for_channels,
    for_macs,
    lowest,
    lowest_overall,
    share_gone,
)
from offramp.compression.exits import refreshed
from offramp.compression.groups import Findings, Group, find_groups
from offramp.compression.layer_costs import layer_sizes
from offramp.compression.layers import CONVOLUTIONS, add_transform, remove_transform, weight_transform
from offramp.compression.learned_ranking import Evolution, Ranking, Trial, ranked
from offramp.compression.masks import ChannelMask
from offramp.compression.schedules import Baseline, Exponential, ExponentialWithBias, Schedule
from offramp.compression.scopes import selected
from offramp.compression.settings import rate, setting
from offramp.compression.stripping import kept_by_module, remove_channels, silence_channels
from offramp.errors import CompressionError

NAME = "filter_pruning"
SCHEDULES = ("exponential", "baseline", "exponential_with_bias")
IMPORTANCES = ("L2", "L1", "geometric_median")
RANKINGS = ("unweighted_ranking", "learned_ranking")


@register
@dataclass(frozen=True, kw_only=True)
class FilterPruning(Algorithm):
    """Removes the channels that convolutions make; those joined by additions go together, depthwise ones with them.

    While training, removed channels are made but not read; `shrink` takes them out of the network.

    Args:
        pruning_init: rate at the start.
        pruning_target: share of the prunable channels to be removed; 0.5 where no target is given.
        pruning_flops_target: share of the MACs to be removed instead.
        schedule: how the rate rises from epoch to epoch, see `offramp.compression.schedules`.
        num_init_steps: epochs at the initial rate.
        pruning_steps: epochs until the target.
        filter_importance: see `offramp.compression.channel_selection.filter_scores`; summed over coupled layers.
        all_weights: rank all channels together, each layer's scores divided by its norm; otherwise each group gives the
            same share.
        prune_first_conv: also the layers that read the inputs.
        prune_downsample_convs: also convolutions with strides.
        prune_batch_norms: the norms of removed channels always go too.
        interlayer_ranking_type: "learned_ranking" ranks all channels together, by scores that evolution makes
            comparable (`Evolution` of `offramp.compression.learned_ranking`); needs data and a loss, and is done when
            the first channels are to go.
        generations: rankings that evolution tries, each of which is pruned and trained for `train_steps`.
        train_steps: steps of SGD for each.
        max_pruning: rate at which rankings are compared.
        random_seed: of the evolution.
        num_bn_adaptation_samples: see `offramp.compression.batch_norm`.

    The channels that a group keeps are a multiple of 8, or all; so a rate is achieved as nearly as that allows, from
    below for channels and from above for MACs.
    """

    order: ClassVar[int] = 10
    rate_can_be_searched: ClassVar[bool] = True

    pruning_init: float = rate(0.0, at="pruning_init")
    pruning_target: float | None = rate(None)
    pruning_flops_target: float | None = rate(None)
    schedule: str = setting("exponential", choices=SCHEDULES)
    num_init_steps: int = setting(0, least=0)
    pruning_steps: int = setting(100, least=1)
    filter_importance: str = setting("L2", also=("params.weight_importance",), choices=IMPORTANCES)
    all_weights: bool = setting(False)
    prune_first_conv: bool = setting(False)
    prune_downsample_convs: bool = setting(False)
    prune_batch_norms: bool = setting(True, choices=(True,))
    interlayer_ranking_type: str = setting("unweighted_ranking", choices=RANKINGS)
    generations: int = setting(400, at="params.legr_params.generations", least=1)
    train_steps: int = setting(200, at="params.legr_params.train_steps", least=0)
    max_pruning: float = setting(0.8, at="params.legr_params.max_pruning", above=0, below=1)
    random_seed: int = setting(42, at="params.legr_params.random_seed", least=0)
    num_bn_adaptation_samples: int = setting(
        2000, at="initializer.batchnorm_adaptation.num_bn_adaptation_samples", least=0
    )

    @property
    def target_rate(self) -> float:
        """Of the channels or of the MACs."""
        given = self.pruning_target if self.pruning_flops_target is None else self.pruning_flops_target
        return 0.5 if given is None else given

    @property
    def batch_norm_samples(self) -> int:
        """See `Algorithm.batch_norm_samples`."""
        return self.num_bn_adaptation_samples

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """See `Algorithm.conflicts`."""
        if self.pruning_target is not None and self.pruning_flops_target is not None:
            yield "pruning_flops_target", "cannot be given beside pruning_target; choose one of the two"
        if self.pruning_init > self.target_rate:
            yield "pruning_init", f"must be at most the target {self.target_rate:g}; it is {self.pruning_init:g}"

    def rates(self) -> Schedule:
        """The rate by epoch."""
        if self.schedule == "baseline":
            return Baseline(self.pruning_init, self.target_rate, self.num_init_steps)
        kind = Exponential if self.schedule == "exponential" else ExponentialWithBias
        return kind(self.pruning_init, self.target_rate, self.pruning_steps - 1, self.num_init_steps)

    def apply(self, model: nn.Module, workshop: Workshop) -> FilterPruner:
        """See `Algorithm.apply`."""
        if self.learns_ranking and (workshop.data is None or workshop.loss is None):
            raise CompressionError(
                "interlayer_ranking_type='learned_ranking' trains what a ranking leaves, and was given no data or no "
                "loss. Give batches of (inputs, labels) and a loss, or take 'unweighted_ranking'."
            )
        layers = selected(model, CONVOLUTIONS, self.ignored_scopes, self.target_scopes)
        groups = self._prunable(find_groups(model, workshop.example), layers)
        return FilterPruner(self, model, groups, layer_sizes(model, workshop.example), workshop)

    @property
    def learns_ranking(self) -> bool:
        """Whether layers are compared by a learned ranking."""
        return self.interlayer_ranking_type == "learned_ranking"

    def _prunable(self, found: Findings, layers: Mapping[str, nn.Module]) -> list[Group]:
        reasons = dict(found.refused)
        for group in found.groups:
            problems = (self._reason(name, layers, found) for name in group.layers)
            if (problem := next((p for p in problems if p is not None), None)) is not None:
                reasons[group.name] = problem
        groups = [g for g in found.groups if g.name not in reasons]
        if not groups:
            listed = "; ".join(f"'{name}': {why}" for name, why in reasons.items()) or "it has no convolution"
            raise CompressionError(f"filter_pruning finds nothing to prune in this model: {listed}.")
        return groups

    def _reason(self, name: str, layers: Mapping[str, nn.Module], found: Findings) -> str | None:
        """Why a layer's channels stay."""
        layer: Any = layers.get(name)
        if layer is None:
            return f"'{name}' is outside of the scopes"
        if name in found.first and not self.prune_first_conv:
            return f"'{name}' reads the inputs (prune_first_conv is false)"
        if max(layer.stride) > 1 and not self.prune_downsample_convs:
            return f"'{name}' has a stride (prune_downsample_convs is false)"
        return None


class FilterPruner(Compressor):
    """`FilterPruning` at work.

    Args:
        settings: what was asked for.
        model: receives the masks.
        groups: those that may lose channels.
        sizes: of all layers of the model.
        workshop: for a ranking that is learned.
    """

    def __init__(
        self, settings: FilterPruning, model: nn.Module, groups: Sequence[Group], sizes: Sizes, workshop: Workshop
    ) -> None:
        self.settings, self.model, self.groups, self.sizes = settings, model, tuple(groups), sizes
        self.workshop = workshop
        self.ranking: Ranking | None = None
        self.schedule = settings.rates()
        self.fixed = False
        self.rate = 0.0
        self.taken: Kept = {}
        readers = {c.module for g in groups for c in g.of_side("reads")}
        for name in kept_by_module(model, groups, {g.name: torch.ones(g.channels) > 0 for g in groups}):
            layer: Any = model.get_submodule(name)
            if name in sizes.shapes:
                add_transform(layer, NAME, ChannelMask(layer.weight, name in readers))
        self.maximal_rate = self._gone(self._select(1.0))
        self._refuse_unreachable()
        self._move(settings.pruning_init)

    @property
    def stage(self) -> Stage:
        """See `Compressor.stage`."""
        if self.fixed or self.rate >= self.settings.target_rate - 1e-9:
            return Stage.FULLY
        return Stage.PARTLY if self.rate > 0 else Stage.UNCOMPRESSED

    def statistics(self) -> Statistics:
        """Rates of channels, or of MACs where those were asked for; in the details shares of both and of parameters."""
        kept = self.kept(self.model)
        macs, parameters = self.sizes.left(self.groups, kept)
        details = {"channels": share_gone(kept), "macs": 1 - macs, "parameters": 1 - parameters}
        layers = {g.name: share_gone({g.name: kept[g.name]}) for g in self.groups}
        return Statistics(nominal=self.rate, achieved=self._gone(kept), layers=layers, details=details)

    def epoch_step(self, epoch: int) -> None:
        """See `Compressor.epoch_step`."""
        wanted = self.schedule.rate(epoch)
        if not self.fixed and wanted != self.rate:
            self._move(wanted)

    def set_rate(self, rate: float) -> None:
        """See `Compressor.set_rate`."""
        if not 0 <= rate <= self.maximal_rate + 1e-9:
            raise CompressionError(
                f"filter_pruning cannot take {rate:g} of this model away; allowed: 0 to {self.maximal_rate:.4g}."
            )
        self.fixed = True
        self._move(rate)

    def kept(self, model: nn.Module) -> Kept:
        """Bool `[channels]` of every group, from the masks in a model."""
        return {g.name: weight_transform(model.get_submodule(g.name), NAME).outputs > 0 for g in self.groups}

    def bake(self, model: nn.Module) -> None:
        """See `Compressor.bake`; remembers which channels `shrink` has to take out."""
        self.taken = self.kept(model)
        silence_channels(model, self.groups, self.taken)
        for name in self._masked(model):
            remove_transform(model.get_submodule(name), NAME)

    def shrink(self, model: nn.Module) -> nn.Module:
        """Removes the channels from weights, biases and norms."""
        remove_channels(model, self.groups, self.taken)
        return refreshed(model)

    def state_dict(self) -> dict[str, Any]:
        """See `Compressor.state_dict`; the masks are in the model's."""
        return {"rate": self.rate, "fixed": self.fixed, "ranking": self.ranking}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Compressor.load_state_dict`."""
        self.rate, self.fixed, self.ranking = float(state["rate"]), bool(state["fixed"]), state["ranking"]

    def _move(self, rate: float) -> None:
        self.rate = rate
        self._place(self.model, self._select(rate))

    def _place(self, model: nn.Module, kept: Kept) -> None:
        """Sets the masks in a model."""
        for name, (outputs, inputs) in kept_by_module(model, self.groups, kept).items():
            if name in self.sizes.shapes:
                mask = weight_transform(model.get_submodule(name), NAME)
                mask.outputs.copy_(outputs)
                mask.inputs.copy_(inputs if len(mask.inputs) > 1 else torch.ones(1))

    def _select(self, rate: float) -> Kept:
        scores: Scores = {g.name: self._scores(g) for g in self.groups}
        if rate in (0.0, 1.0):
            return lowest(scores, rate)
        if self.settings.learns_ranking:
            if self.ranking is None:
                self.ranking = self._learn(scores)
            scores = ranked(scores, self.ranking)
        return self._chosen(scores, rate)

    def _chosen(self, scores: Scores, rate: float) -> Kept:
        select = partial(lowest_overall if self._together else lowest, scores)
        if self.settings.pruning_flops_target is None:
            return for_channels(select, rate)
        return for_macs(select, lambda kept: self.sizes.left(self.groups, kept)[0], rate)

    def _scores(self, group: Group) -> Tensor:
        total = torch.zeros(group.channels)
        for coupling in group.of_side("makes", "filters"):
            weight: Any = self.model.get_submodule(coupling.module).weight
            # Scores of a whole ranking must not depend on the scale of a layer, which a batch norm undoes.
            scale = weight.detach().norm() if self._together else 1.0
            found = filter_scores(weight / scale, self.settings.filter_importance).cpu()
            total.index_add_(0, torch.tensor(coupling.roots), found[list(coupling.channels)])
        return total

    @property
    def _together(self) -> bool:
        return self.settings.all_weights or self.settings.learns_ranking

    def _learn(self, scores: Scores) -> Ranking:
        rate = min(self.settings.max_pruning, self.maximal_rate)
        assert self.workshop.data is not None
        assert self.workshop.loss is not None
        trial = Trial(self.workshop.data, self.workshop.loss, self.settings.train_steps, self.settings.random_seed)

        def fitness(ranking: Ranking) -> float:
            model = copy.deepcopy(self.model)
            self._place(model, self._chosen(ranked(scores, ranking), rate))
            return -trial.loss_of(model)

        evolution = Evolution(self.settings.generations, seed=self.settings.random_seed)
        return evolution.run({name: float(s.std()) for name, s in scores.items()}, fitness)

    def _gone(self, kept: Kept) -> float:
        if self.settings.pruning_flops_target is None:
            return share_gone(kept)
        return 1 - self.sizes.left(self.groups, kept)[0]

    def _masked(self, model: nn.Module) -> Iterator[str]:
        names = {c.module for g in self.groups for c in g.couplings if c.module in self.sizes.shapes}
        return (name for name, _ in list(model.named_modules()) if name in names)

    def _refuse_unreachable(self) -> None:
        if self.maximal_rate == 0:
            raise CompressionError(
                f"filter_pruning cannot remove anything: no group has more than 8 channels "
                f"({', '.join(f'{g.name}: {g.channels}' for g in self.groups)})."
            )
        if self.settings.pruning_flops_target is not None and self.settings.target_rate > self.maximal_rate:
            raise CompressionError(
                f"pruning_flops_target={self.settings.target_rate:g}: at most {self.maximal_rate:.4g} of this model's "
                "MACs can be removed. Ask for less, or allow more with prune_first_conv, prune_downsample_convs or "
                "ignored_scopes."
            )
