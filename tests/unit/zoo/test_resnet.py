"""The ImageNet ResNets: layout and names of torchvision's, written from its documentation, not imported."""

from __future__ import annotations

import pytest
import torch
from torch import fx

from offramp import zoo
from offramp.errors import OfframpError
from offramp.zoo import ResNet
from offramp.zoo.residual import BasicBlock
from offramp.zoo.resnet import Bottleneck


def test_the_state_dict_has_torchvisions_names_in_its_order():
    with torch.device("meta"):
        names = list(zoo.build("resnet50").state_dict())
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    block = [
        name
        for k in (1, 2, 3)
        for name in (f"layer1.0.conv{k}.weight", *(f"layer1.0.bn{k}.{statistic}" for statistic in norm))
    ]
    shortcut = ["layer1.0.downsample.0.weight", *(f"layer1.0.downsample.1.{statistic}" for statistic in norm)]
    start = ["conv1.weight", *(f"bn1.{statistic}" for statistic in norm), *block, *shortcut]
    assert names[: len(start)] == start
    assert names[-2:] == ["fc.weight", "fc.bias"]
    assert not [name for name in names if name.startswith("layer1.1.downsample")]
    # 53 convolutions, as many norms of five tensors, and fc.
    assert len(names) == 53 + 53 * 5 + 2


def test_the_stride_of_a_bottleneck_is_in_its_middle():
    block = Bottleneck(8, 4, stride=2)
    assert [conv.stride for conv in (block.conv1, block.conv2, block.conv3)] == [(1, 1), (2, 2), (1, 1)]


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_small_one_traces_and_trains(block):
    torch.manual_seed(0)
    net = ResNet(block, (1, 1, 1, 1), num_classes=3).eval()
    images = torch.randn(2, 3, 40, 33)
    torch.testing.assert_close(fx.symbolic_trace(net)(images), net(images))
    net.train()(images).sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("blocks", [(1, 1, 1), (1, 0, 1, 1)])
def test_other_than_four_stages_are_refused(blocks):
    with pytest.raises(OfframpError, match="four stages"):
        ResNet(BasicBlock, blocks)
