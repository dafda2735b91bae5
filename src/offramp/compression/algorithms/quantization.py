"""Quantization-aware training: the model trains on rounded weights and activations, and becomes integers at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from offramp.backbones import arguments, device_of, evaluating, first_tensor, map_tensors
from offramp.compression.algorithms.algorithm import Algorithm, Compressor, Stage, Statistics, Workshop, register
from offramp.compression.exits import refreshed
from offramp.compression.integers import to_integers
from offramp.compression.layers import INPUTS, LAYERS, add_transform, weight_transform
from offramp.compression.quantization_plan import Plan, plan_quantizers
from offramp.compression.quantizers import (
    OUTPUT,
    ActivationQuantizer,
    WeightQuantizer,
    put_on_output,
    take_off_output,
)
from offramp.compression.ranges import INITIALISERS, Percentiles, Seen
from offramp.compression.scopes import selected
from offramp.compression.settings import setting
from offramp.compression.sparsity import compressible
from offramp.errors import CompressionError
from offramp.recording import unpack

NAME = "quantization"
MODES = ("symmetric", "asymmetric")


@register
@dataclass(frozen=True, kw_only=True)
class Quantization(Algorithm):
    """Rounds weights and activations of linear layers and convolutions to integers of 2 to 8 bits.

    Weights follow their own range while they train. Activations keep the range of their initialisation; what is beyond
    is clipped. `shrink` merges batch norms and leaves int8 weights, see `offramp.compression.integers`.

    Args:
        preset: "performance": symmetric activations; "mixed": asymmetric ones. Weights are symmetric in both.
        weight_bits: of weights.
        weight_mode: "symmetric" or "asymmetric"; as in the preset where not given.
        per_channel: whether each output of a weight has a grid of its own.
        activation_bits: of activations.
        activation_mode: as weight_mode.
        weight_ignored_scopes: layers whose weights stay as they are; their inputs are not quantized for them either.
        quantize_inputs: whether the model's inputs are rounded too.
        quantize_outputs: the model's outputs never are.
        range_samples: on how many samples the ranges are initialised.
        range_type: how, see `offramp.compression.ranges`.
        min_percentile: where quantiles cut off below, in percent.
        max_percentile: where they cut off above.
        activations_quant_start_epoch: epoch from which activations are rounded; 0 is at once.
        weights_quant_start_epoch: the same for weights.
        num_bn_adaptation_samples: see `offramp.compression.batch_norm`.
    """

    order: ClassVar[int] = 30
    refuses: ClassVar[frozenset[str]] = frozenset({"binarization"})

    preset: str = setting("performance", at="preset", choices=("performance", "mixed"))
    weight_bits: int = setting(8, at="weights.bits", least=2, most=8)
    weight_mode: str | None = setting(None, at="weights.mode", choices=MODES)
    per_channel: bool = setting(True, at="weights.per_channel")
    activation_bits: int = setting(8, at="activations.bits", least=2, most=8)
    activation_mode: str | None = setting(None, at="activations.mode", choices=MODES)
    weight_ignored_scopes: tuple[str, ...] = setting((), at="weights.ignored_scopes")
    quantize_inputs: bool = setting(True, at="quantize_inputs")
    quantize_outputs: bool = setting(False, at="quantize_outputs", choices=(False,))
    range_samples: int = setting(256, at="initializer.range.num_init_samples", least=1)
    range_type: str = setting("mean_min_max", at="initializer.range.type", choices=tuple(INITIALISERS))
    min_percentile: float = setting(0.1, at="initializer.range.params.min_percentile", least=0, below=50)
    max_percentile: float = setting(99.9, at="initializer.range.params.max_percentile", above=50, most=100)
    activations_quant_start_epoch: int = setting(0, least=0)
    weights_quant_start_epoch: int = setting(0, least=0)
    num_bn_adaptation_samples: int = setting(
        2000, at="initializer.batchnorm_adaptation.num_bn_adaptation_samples", least=0
    )

    @property
    def batch_norm_samples(self) -> int:
        """See `Algorithm.batch_norm_samples`."""
        return self.num_bn_adaptation_samples

    def apply(self, model: nn.Module, workshop: Workshop) -> Quantizer:
        """See `Algorithm.apply`."""
        ignored = (*self.ignored_scopes, *self.weight_ignored_scopes)
        layers = compressible(selected(model, LAYERS, ignored, self.target_scopes), NAME)
        if workshop.data is None:
            raise CompressionError(
                f"quantization initialises its ranges on {self.range_samples} samples and was given no data. Give "
                "batches of (inputs, labels)."
            )
        plan = plan_quantizers(model, workshop.example, layers, self.quantize_inputs)
        quantizer = Quantizer(self, model, plan)
        quantizer.initialise(workshop)
        quantizer.epoch_step(0)
        return quantizer

    def weight_quantizer(self) -> WeightQuantizer:
        """A new one."""
        return WeightQuantizer(self.weight_bits, self.weight_mode != "asymmetric", self.per_channel)

    def activation_quantizer(self) -> ActivationQuantizer:
        """A new one."""
        mode = self.activation_mode or ("asymmetric" if self.preset == "mixed" else "symmetric")
        return ActivationQuantizer(self.activation_bits, mode == "symmetric")


class Quantizer(Compressor):
    """`Quantization` at work.

    Args:
        settings: what was asked for.
        model: receives the quantizers.
        plan: where they go.
    """

    def __init__(self, settings: Quantization, model: nn.Module, plan: Plan) -> None:
        self.settings, self.model, self.plan = settings, model, plan
        for name in plan.layers:
            add_transform(model.get_submodule(name), NAME, settings.weight_quantizer())
        for name in plan.on_inputs:
            add_transform(model.get_submodule(name), NAME, settings.activation_quantizer(), on=INPUTS)
        for name in plan.on_outputs:
            put_on_output(model.get_submodule(name), settings.activation_quantizer())
        self.epoch = 0

    def initialise(self, workshop: Workshop) -> None:
        """Fixes the ranges of the activations, on the model as it is with its weights rounded."""
        quantizers, seen = list(self._activations(self.model)), 0
        for quantizer in quantizers:
            quantizer.seen = Seen()
        with evaluating(self.model), torch.no_grad(), torch.random.fork_rng(devices=[]):
            for batch in workshop.data or ():
                args, kwargs = arguments(map_tensors(lambda t: t.to(device_of(self.model)), unpack(batch)[0]))
                self.model(*args, **kwargs)
                tensor = first_tensor((args, kwargs))
                seen += 0 if tensor is None else len(tensor)
                if seen >= self.settings.range_samples:
                    break
        if not seen:
            raise CompressionError("quantization was given no batches to initialise its ranges on.")
        for quantizer in quantizers:
            self._fix(quantizer)

    def _fix(self, quantizer: ActivationQuantizer) -> None:
        cut = Percentiles(self.settings.min_percentile, self.settings.max_percentile)
        found, quantizer.seen = quantizer.seen, None
        # A place that no batch reached passes its values as they are.
        if found is not None and found.lows:
            quantizer.cover(*INITIALISERS[self.settings.range_type](found, cut))

    @property
    def stage(self) -> Stage:
        """See `Compressor.stage`."""
        started = [self.epoch >= start for start in self._starts()]
        return Stage.FULLY if all(started) else Stage.PARTLY if any(started) else Stage.UNCOMPRESSED

    def statistics(self) -> Statistics:
        """It has no rate; in the details the share of the weights that are rounded, and the mean bits of a weight."""
        layers = [m for m in self.model.modules() if isinstance(m, LAYERS)]
        total = sum(layer.weight.numel() for layer in layers)
        rounded = sum(_weight(self.model, name).numel() for name in self.plan.layers)
        bits = (rounded * self.settings.weight_bits + (total - rounded) * 32) / total
        details = {"rounded_weights": rounded / total, "bits_per_weight": bits}
        return Statistics(None, None, details=details)

    def epoch_step(self, epoch: int) -> None:
        """Begins to round what is due."""
        self.epoch = epoch
        weights, activations = (epoch >= start for start in self._starts())
        for name in self.plan.layers:
            weight_transform(self.model.get_submodule(name), NAME).enabled = weights
        for quantizer in self._activations(self.model):
            quantizer.enabled = activations

    def shrink(self, model: nn.Module) -> nn.Module:
        """Merges batch norms and turns layers into integers."""
        for name, source in self.plan.layers.items():
            layer = model.get_submodule(name)
            norm = self.plan.norms.get(name)
            ladder = weight_transform(layer, NAME).ladder(_weight(model, name))
            merged: Any = None if norm is None else model.get_submodule(norm)
            to_integers(layer, ladder, merged, self._scale_of(model, name, source))
            if norm is not None:
                _replace_norm(model, norm)
        return refreshed(model)

    def state_dict(self) -> dict[str, Any]:
        """See `Compressor.state_dict`; the grids are in the model's."""
        return {"epoch": self.epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Compressor.load_state_dict`."""
        self.epoch_step(int(state["epoch"]))

    def _starts(self) -> tuple[int, int]:
        return self.settings.weights_quant_start_epoch, self.settings.activations_quant_start_epoch

    def _activations(self, model: nn.Module) -> Iterator[ActivationQuantizer]:
        for name in self.plan.on_inputs:
            yield model.get_submodule(f"{name}.{INPUTS}.{NAME}")  # type: ignore[misc]
        for name in self.plan.on_outputs:
            yield model.get_submodule(f"{name}.{OUTPUT}")  # type: ignore[misc]

    def _scale_of(self, model: nn.Module, layer: str, source: str | None) -> float | None:
        """Of what a layer reads; None where that is not rounded."""
        if layer not in self.plan.on_inputs and source is None:
            return None
        path = f"{layer}.{INPUTS}.{NAME}" if layer in self.plan.on_inputs else f"{source}.{OUTPUT}"
        quantizer: Any = model.get_submodule(path)
        return None if quantizer.grid is None else float(quantizer.grid.scale)


def _weight(model: nn.Module, name: str) -> torch.Tensor:
    weight: Any = model.get_submodule(name).weight
    return weight.detach()  # type: ignore[no-any-return]


def _replace_norm(model: nn.Module, name: str) -> None:
    """Puts an identity in the place of a merged batch norm; it goes on rounding where the norm's output was rounded."""
    norm, identity = model.get_submodule(name), nn.Identity()
    assert isinstance(norm, _BatchNorm)
    quantizer = take_off_output(norm)
    if quantizer is not None:
        put_on_output(identity, quantizer)
    model.set_submodule(name, identity.train(norm.training))
