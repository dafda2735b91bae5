"""Costs of the CIFAR ResNets against figures published elsewhere.

Origin: the architectures of IntelLabs/distiller at d859fc85 (`models/cifar10/resnet_cifar.py` and its early-exit
variants), which have 1x1 convolutions as shortcuts; the multiply-accumulates of convolutions and linear layers at
1x3x32x32, and the parameters of the plain network, as printed there: millions with two and three decimals.
The published exit sits after `layer1.2` at every depth: AvgPool2d(3), then Linear(1600, classes).
"""

from __future__ import annotations

import pytest

from offramp import zoo

# depth: (MACs in millions, parameters in millions, exit after layer1.2 in % of the MACs, exit after layer1 in %)
PUBLISHED = {
    20: (40.81, 0.272, 35.8, 35.8),
    32: (69.12, 0.467, 21.1, 34.8),
    44: (97.44, 0.661, 15.0, 34.4),
    56: (125.75, 0.856, 11.6, 34.1),
    110: (253.15, 1.731, 5.8, 33.7),
}
SMALL = (20, 32)
"""Depths that are cut in earnest; of the others only the shapes are followed."""


@pytest.mark.parametrize("depth", PUBLISHED)
def test_macs_and_parameters_are_the_published_ones(depth, shape_costs):
    macs, parameters, _, _ = PUBLISHED[depth]
    costs = shape_costs(f"resnet{depth}_cifar")
    assert round(costs.macs / 1e6, 2) == macs
    assert round(costs.parameters / 1e6, 3) == parameters


@pytest.mark.parametrize("depth", PUBLISHED)
def test_the_exit_is_where_and_as_dear_as_published(depth, shape_costs):
    costs = shape_costs(f"resnet{depth}_cifar")
    assert zoo.published_exits(f"resnet{depth}_cifar_earlyexit") == ["layer1.2"]
    head = costs.published_heads()["layer1.2"]
    assert sum(p.numel() for p in head.parameters()) == 1600 * 10 + 10
    _, _, third_block, first_stage = PUBLISHED[depth]
    for place, published in (("layer1.2", third_block), ("layer1", first_stage)):
        assert round(100 * (costs.at(place) + costs.head_macs("layer1.2")) / costs.macs, 1) == published


@pytest.mark.parametrize("depth", SMALL)
def test_what_is_built_counts_the_same(depth, shape_costs):
    model = zoo.build_with_exits(f"resnet{depth}_cifar_earlyexit")
    assert model.cost.plain == shape_costs(f"resnet{depth}_cifar").macs
    assert model.cost.head_macs == (16_000,)
    assert round(100 * model.cost.macs[0] / model.cost.plain, 1) == PUBLISHED[depth][2]
    moved = zoo.build_with_exits(f"resnet{depth}_cifar_earlyexit", exits=["layer1"])
    assert round(100 * moved.cost.macs[0] / moved.cost.plain, 1) == PUBLISHED[depth][3]


@pytest.mark.slow
def test_the_deepest_goes_on_as_the_others(shape_costs):
    # 200 blocks a stage; He et al. print 19.4 million parameters.
    shallow, deep = shape_costs("resnet20_cifar"), shape_costs("resnet1202_cifar")
    per_block = 3 * 9 * 2 * 16 * 16 * 32 * 32
    assert deep.macs - shallow.macs == 197 * per_block
    assert round(deep.parameters / 1e6, 1) == 19.4
    assert deep.at("layer1.2") == shallow.at("layer1.2")
