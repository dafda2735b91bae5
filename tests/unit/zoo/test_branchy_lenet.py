from __future__ import annotations

import pytest
import torch
from torch import nn

from offramp.errors import OfframpError
from offramp.zoo import BranchyLeNet


@pytest.mark.parametrize("size", [1, 7, 28, 32, (28, 37)])
def test_any_image_size_works(size):
    height, width = (size, size) if isinstance(size, int) else size
    net = BranchyLeNet(num_classes=4, in_channels=2, image_size=size)
    assert net(torch.randn(3, 2, height, width)).shape == (3, 4)


def test_the_children_in_order_are_the_network():
    net, images = BranchyLeNet(), torch.randn(2, 1, 28, 28)
    torch.testing.assert_close(nn.Sequential(*net.children())(images), net(images))


def test_wider_ones_keep_the_layout():
    net = BranchyLeNet(channels=(8, 48, 96))
    assert [conv.out_channels for conv in (net.conv1, net.conv2, net.conv3)] == [8, 48, 96]
    assert net.fc1.in_features == 96 * 6 * 6


def test_no_channels_are_refused():
    with pytest.raises(OfframpError, match="channels=0"):
        BranchyLeNet(channels=(5, 0, 20))
