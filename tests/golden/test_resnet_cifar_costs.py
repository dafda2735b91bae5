"""Costs of the CIFAR ResNets against figures published elsewhere.

Origin: the architectures of IntelLabs/distiller at d859fc85 (`models/cifar10/resnet_cifar.py` and its early-exit
variants), which have 1x1 convolutions as shortcuts; the multiply-accumulates of convolutions and linear layers at
1x3x32x32, and the parameters of the plain network, as printed there: millions with two and three decimals.
The published exit sits after `layer1.2` at every depth: AvgPool2d(3), then Linear(1600, classes).
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from offramp import zoo

PUBLISHED_EXIT_HEAD_MACS = 16 * 10 * 10 * 10

# depth: (MACs in millions, parameters in millions, exit after layer1.2 in % of the MACs, exit after layer1 in %)
PUBLISHED = {
    20: (40.81, 0.272, 35.8, 35.8),
    32: (69.12, 0.467, 21.1, 34.8),
    44: (97.44, 0.661, 15.0, 34.4),
    56: (125.75, 0.856, 11.6, 34.1),
    110: (253.15, 1.731, 5.8, 33.7),
}


def macs_by_module(net: nn.Module) -> dict[str, int]:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(torch.zeros(1, 3, 32, 32))
    # The counter counts a multiply-accumulate as two operations.
    return {name: sum(ops.values()) // 2 for name, ops in counter.get_flop_counts().items()}


@pytest.mark.parametrize("depth", PUBLISHED)
def test_macs_and_parameters_are_the_published_ones(depth):
    net = zoo.build(f"resnet{depth}_cifar")
    macs, parameters, _, _ = PUBLISHED[depth]
    assert round(macs_by_module(net)["Global"] / 1e6, 2) == macs
    assert round(sum(p.numel() for p in net.parameters()) / 1e6, 3) == parameters


@pytest.mark.parametrize("depth", PUBLISHED)
def test_an_exit_costs_the_published_share(depth):
    macs = macs_by_module(zoo.build(f"resnet{depth}_cifar"))
    _, _, third_block, first_stage = PUBLISHED[depth]

    def percent(*modules: str) -> float:
        prefix = sum(macs[f"ResNetCifar.{module}"] for module in modules) + PUBLISHED_EXIT_HEAD_MACS
        return round(100 * prefix / macs["Global"], 1)

    assert percent("conv1", "layer1.0", "layer1.1", "layer1.2") == third_block
    assert percent("conv1", "layer1") == first_stage
