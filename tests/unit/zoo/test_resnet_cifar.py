from __future__ import annotations

import math

import pytest
import torch
from torch import fx, nn

from offramp.errors import OfframpError
from offramp.zoo import ResNetCifar


@pytest.fixture
def net() -> ResNetCifar:
    torch.manual_seed(0)
    return ResNetCifar((1, 2, 1), (4, 8, 12), (1, 2, 2), num_classes=7, in_channels=1).eval()


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (33, 17), (96, 64)])
def test_any_image_size_works(net, size):
    assert net(torch.randn(3, 1, *size)).shape == (3, 7)


def test_one_image_gets_the_same_logits_in_any_batch(net):
    images = torch.randn(5, 1, 28, 28)
    torch.testing.assert_close(net(images)[2:3], net(images[2:3]))


def test_children_have_torchvisions_names(net):
    assert {"conv1", "bn1", "layer1", "layer2", "layer3", "fc"} <= dict(net.named_children()).keys()
    assert isinstance(net.get_submodule("layer2.1.conv2"), nn.Conv2d)


def test_strides_widths_and_stem_shape_the_maps():
    net = ResNetCifar((1, 1), (6, 10), (2, 1), stem_width=4, stem_stride=2, in_channels=1)
    shapes = {}
    for name in ("conv1", "layer1", "layer2"):
        net.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: shapes.update({name: out.shape}))
    net(torch.randn(2, 1, 32, 32))
    assert shapes == {"conv1": (2, 4, 16, 16), "layer1": (2, 6, 8, 8), "layer2": (2, 10, 8, 8)}


def test_only_blocks_that_change_the_shape_have_a_convolution_in_the_shortcut(net):
    kinds = {name: type(net.get_submodule(f"{name}.downsample")) for name in ("layer1.0", "layer2.0", "layer2.1")}
    assert kinds == {"layer1.0": nn.Identity, "layer2.0": nn.Sequential, "layer2.1": nn.Identity}


def test_tracing_keeps_the_output(net):
    images = torch.randn(2, 1, 28, 28)
    torch.testing.assert_close(fx.symbolic_trace(net)(images), net(images))


def test_exporting_keeps_the_output(net):
    images = torch.randn(2, 1, 28, 28)
    torch.testing.assert_close(torch.export.export(net, (images,)).module()(images), net(images))


def test_a_stage_may_halve_the_resolution_without_growing_wider():
    net = ResNetCifar((1,), (4,), (2,), num_classes=3, in_channels=1)
    assert isinstance(net.get_submodule("layer1.0.downsample"), nn.Sequential)
    assert net(torch.randn(2, 1, 9, 9)).shape == (2, 3)


def test_a_step_reaches_every_parameter(net):
    net.train()(torch.randn(4, 1, 28, 28)).sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


def test_convolutions_are_drawn_with_the_stated_spread():
    torch.manual_seed(0)
    weight = ResNetCifar().get_submodule("layer3.0.conv1").weight.detach()
    assert float(weight.std()) == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.02)
    assert abs(float(weight.mean())) < 1e-3


def test_init_weights_of_a_head_depends_on_the_random_state_only(net):
    heads = []
    for _ in range(2):
        head = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(6, 7))
        head[1].weight.data.fill_(3.0)
        torch.manual_seed(5)
        heads.append(head.apply(net._init_weights))
    for first, second in zip(heads[0].parameters(), heads[1].parameters(), strict=True):
        assert torch.equal(first, second)
    assert torch.equal(heads[0][1].weight, torch.ones(6))
    assert torch.equal(heads[0][0].bias, torch.zeros(6))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"blocks": (1, 1)}, r"blocks=\(1, 1\).*one number per stage"),
        ({"blocks": (), "widths": (), "strides": ()}, "one stage at least"),
        ({"strides": (1, 0, 2)}, r"strides=\(1, 0, 2\).*at least 1"),
        ({"num_classes": 0}, "num_classes=0"),
        ({"stem_width": 0}, "stem_width=0"),
    ],
)
def test_impossible_shapes_are_refused_with_the_value(arguments, message):
    with pytest.raises(OfframpError, match=message):
        ResNetCifar(**arguments)
