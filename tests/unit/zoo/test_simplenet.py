from __future__ import annotations

import pytest
import torch

from offramp import zoo
from offramp.errors import OfframpError
from offramp.zoo import LeNet, SimpleNet


def test_layers_have_distillers_names_and_widths():
    layers = {name: tuple(p.shape) for name, p in zoo.build("simplenet_cifar").named_parameters() if "weight" in name}
    assert layers == {
        "conv1.weight": (6, 3, 5, 5),
        "conv2.weight": (16, 6, 5, 5),
        "fc1.weight": (120, 400),
        "fc2.weight": (84, 120),
        "fc3.weight": (10, 84),
    }
    assert zoo.build("simplenet_mnist").fc1.weight.shape == (500, 800)


@pytest.mark.parametrize(
    ("least", "make"),
    [(16, lambda s: SimpleNet((2, 3), (4,), image_size=s)), (12, lambda s: LeNet(image_size=s))],
)
def test_the_smallest_image_works_and_a_smaller_one_is_refused(least, make):
    net = make(least)
    channels = net.conv1.in_channels
    assert net(torch.zeros(2, channels, least, least)).shape == (2, 10)
    with pytest.raises(OfframpError, match=rf"image_size={least - 1}\): give at least {least}x{least}"):
        make(least - 1)
