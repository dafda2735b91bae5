"""Costs of the ImageNet ResNets and of their exits against figures published elsewhere.

Origin: parameters as torchvision prints them for its networks (`resnet18` .. `resnet152`), and their multiply-
accumulates at 1x3x224x224 in GFLOPS with two decimals, without what torchvision adds for biases. The exits are those of
IntelLabs/distiller at d859fc85: a convolution to 10 channels behind `layer1.2` and one to 12 behind `layer2.3`, each
7x7 with stride 2, then maxima of 3x3 with stride 2 and a linear layer; 21.7 % and 48.3 % of 4.089 GMACs, cumulative.
"""

from __future__ import annotations

import pytest

from offramp import zoo

# depth: (parameters, GMACs, places of the exits)
PUBLISHED = {
    18: (11_689_512, 1.81, ["layer1.1", "layer2.1"]),
    34: (21_797_672, 3.66, ["layer1.2", "layer2.3"]),
    50: (25_557_032, 4.09, ["layer1.2", "layer2.3"]),
    101: (44_549_160, 7.80, ["layer1.2", "layer2.3"]),
    152: (60_192_808, 11.51, ["layer1.2", "layer2.7"]),
}


@pytest.mark.parametrize("depth", PUBLISHED)
def test_parameters_macs_and_places(depth, shape_costs):
    parameters, gmacs, places = PUBLISHED[depth]
    costs = shape_costs(f"resnet{depth}")
    assert costs.parameters == parameters
    assert round(costs.macs / 1e9, 2) == gmacs
    assert zoo.published_exits(f"resnet{depth}_earlyexit") == places
    assert costs.at(places[0]) == costs.at("layer1")
    assert costs.at(places[1]) == costs.at("layer2")


def test_the_exits_of_resnet50_cost_the_published_shares(shape_costs):
    costs = shape_costs("resnet50")
    assert round(costs.macs / 1e9, 3) == 4.089
    heads = costs.published_heads()
    assert [tuple(head.conv.weight.shape) for head in heads.values()] == [(10, 256, 7, 7), (12, 512, 7, 7)]
    assert [tuple(head.linear.weight.shape) for head in heads.values()] == [(1000, 1960), (1000, 588)]
    first = costs.at("layer1.2") + costs.head_macs("layer1.2")
    second = costs.at("layer2.3") + costs.head_macs("layer1.2") + costs.head_macs("layer2.3")
    assert round(100 * first / costs.macs, 1) == 21.7
    assert round(100 * second / costs.macs, 1) == 48.3


@pytest.mark.slow
def test_what_is_built_counts_the_same(shape_costs):
    model, costs = zoo.build_with_exits("resnet50_earlyexit"), shape_costs("resnet50")
    assert model.cost.plain == costs.macs
    assert model.cost.head_macs == (costs.head_macs("layer1.2"), costs.head_macs("layer2.3"))
    assert [round(100 * macs / costs.macs, 1) for macs in model.cost.macs[:2]] == [21.7, 48.3]
