"""Where quantizers go: once on every tensor that integer arithmetic reads, at its maker where that is a module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _AvgPoolNd, _MaxPoolNd

from offramp.compression.dataflow import Dataflow, watch
from offramp.compression.layers import CONVOLUTIONS

POOLS = (_AdaptiveAvgPoolNd, _AvgPoolNd, _MaxPoolNd)
MAPS = 3
"""Additions are rounded between tensors of at least so many dimensions: feature maps, not sums of vectors."""


@dataclass(frozen=True)
class Plan:
    """Names of modules.

    Attributes:
        layers: whose weights are rounded; for each, the module on whose output the input is rounded, None where there
            is none.
        on_inputs: layers that round what they read themselves.
        on_outputs: modules that round what they give.
        norms: for a layer, the batch norm that nobody but it feeds and that alone reads it.
    """

    layers: Mapping[str, str | None]
    on_inputs: tuple[str, ...]
    on_outputs: tuple[str, ...]
    norms: Mapping[str, str]


def plan_quantizers(model: nn.Module, example: Any, layers: Mapping[str, nn.Module], model_inputs: bool = True) -> Plan:
    """Plans for the layers that are to compute with integers.

    Args:
        model: run once on the example; not changed.
        example: inputs of a batch, as the model takes them.
        layers: to be quantized, by name.
        model_inputs: whether tensors that are the model's inputs are rounded too.
    """
    flow = watch(model, example)
    norms = _norms(model, flow, layers)
    sources: dict[str, str | None] = {}
    alone: list[str] = []
    for name in layers:
        tensor = flow.reads.get(name)
        if tensor is None:
            continue  # it does not run for these inputs
        sources[name] = flow.maker_for(tensor)
        if sources[name] is None and (model_inputs or tensor not in flow.inputs):
            alone.append(name)
    outputs = {source for source in sources.values() if source is not None}
    outputs |= _feeding_joins(model, flow, set(sources))
    return Plan(sources, tuple(alone), tuple(sorted(outputs)), norms)


def _feeding_joins(model: nn.Module, flow: Dataflow, layers: set[str]) -> set[str]:
    """Modules whose maps are added, concatenated or pooled, in a model some layer of which is quantized."""
    pooled = {t for name, t in flow.reads.items() if isinstance(model.get_submodule(name), POOLS)}
    maps = {t for t in flow.joined | pooled if flow.ranks[t] >= MAPS}
    makers = {flow.maker_for(t) for t in maps}
    return {m for m in makers if m is not None and not isinstance(model.get_submodule(m), POOLS)} if layers else set()


def _norms(model: nn.Module, flow: Dataflow, layers: Mapping[str, nn.Module]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, tensor in flow.reads.items():
        norm, maker = model.get_submodule(name), flow.maker_for(tensor)
        if maker is None or not isinstance(layers.get(maker), CONVOLUTIONS):
            continue
        mergeable = isinstance(norm, _BatchNorm) and norm.running_mean is not None and flow.calls[name] == 1
        if mergeable and flow.only_reader(name):
            found[maker] = name
    return found
