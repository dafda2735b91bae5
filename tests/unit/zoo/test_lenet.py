from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from offramp.errors import OfframpError
from offramp.zoo import LeNet


def test_logits_have_one_column_per_class():
    assert LeNet(num_classes=4, in_channels=3)(torch.randn(2, 3, 28, 28)).shape == (2, 4)


def test_the_children_in_order_are_the_network():
    net, images = LeNet(), torch.randn(2, 1, 28, 28)
    torch.testing.assert_close(nn.Sequential(*net.children())(images), net(images))


def test_tracing_lenet_keeps_the_output():
    net, images = LeNet(), torch.randn(2, 1, 28, 28)
    torch.testing.assert_close(fx.symbolic_trace(net)(images), net(images))


def test_parameters_are_those_of_lenet_5():
    # 6*(25+1) + 16*(150+1) + 120*(400+1) + 84*(120+1) + 10*(84+1), LeCun et al. 1998 with full connections.
    assert sum(p.numel() for p in LeNet().parameters()) == 61_706


def test_no_channels_are_refused():
    with pytest.raises(OfframpError, match="in_channels=0"):
        LeNet(in_channels=0)
