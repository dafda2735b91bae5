from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from offramp.compression.algorithms import FilterPruning, LowRank, Quantization, Stage, Workshop
from offramp.compression.algorithms.low_rank import factored
from offramp.errors import CompressionError

MakeWorkshop = Callable[[nn.Module], Workshop]


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_the_share_of_the_parameters_is_gone(
    network: nn.Module, images: Tensor, workshop_for: MakeWorkshop, share: float
) -> None:
    plain = network(images)
    before = sum(p.numel() for p in network.parameters())
    factoriser = LowRank(parameters_target=share).apply(network, workshop_for(network))
    said = factoriser.statistics()
    assert share <= said.achieved < share + 0.35
    assert sum(p.numel() for p in network.parameters()) < before
    assert network(images).shape == plain.shape
    assert factoriser.stage is Stage.FULLY


def test_no_pair_of_the_same_rank_is_nearer() -> None:
    layer = nn.Linear(12, 9)
    values = torch.linalg.svdvals(layer.weight.detach())
    pair = factored(layer, 4)
    error = layer.weight - pair.second.weight @ pair.first.weight
    assert float(error.detach().norm()) == pytest.approx(float(values[4:].norm()), rel=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 8, 3, stride=2, padding=1, padding_mode="reflect"),
        nn.Conv1d(3, 8, 5, dilation=2),
        nn.Conv3d(2, 6, (1, 3, 3), padding=(0, 1, 1), bias=False),
    ],
)
def test_geometry_is_kept(layer: nn.Module) -> None:
    x = torch.randn(2, layer.in_channels, *[12] * (layer.weight.ndim - 2))
    assert torch.allclose(factored(layer, 8)(x), layer(x), atol=1e-4)


def test_it_goes_with_pruning_and_quantization(residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop) -> None:
    workshop = workshop_for(residual)
    settings = (LowRank(ignored_scopes=("fc",)), FilterPruning(pruning_init=0.3, prune_first_conv=True), Quantization())
    compressors = [each.apply(residual, workshop) for each in settings]
    expected = residual(images)
    model = residual
    for compressor in reversed(compressors):
        compressor.bake(model)
    for compressor in compressors:
        model = compressor.shrink(model)
    assert torch.allclose(model(images), expected, atol=0.05 * float(expected.detach().abs().max()))


def test_layers_that_would_not_become_smaller_are_refused(workshop_for: MakeWorkshop) -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Flatten())
    with pytest.raises(CompressionError, match=r"no layer that would become smaller by 0\.99"):
        LowRank(parameters_target=0.99).apply(model, workshop_for(model))
