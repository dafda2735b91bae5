from __future__ import annotations

import pytest
import torch

from offramp import zoo
from offramp.errors import OfframpError

every_architecture = pytest.mark.parametrize("name", zoo.ARCHITECTURES)


def test_the_cifar_depths_and_lenet_are_there():
    assert {f"resnet{depth}_cifar" for depth in (20, 32, 44, 56, 110)} | {"lenet"} <= set(zoo.ARCHITECTURES)


@every_architecture
def test_builds_for_the_classes_and_channels_asked_for(name):
    net = zoo.build(name, num_classes=3, in_channels=2).eval()
    with torch.no_grad():
        assert net(torch.zeros(1, 2, 28, 28)).shape == (1, 3)


@every_architecture
def test_default_cuts_run_in_the_order_given(name):
    net, ran = zoo.build(name).eval(), []
    for cut in zoo.default_cuts(name):
        net.get_submodule(cut).register_forward_hook(lambda *_, cut=cut: ran.append(cut))
    with torch.no_grad():
        net(torch.zeros(1, 3, 28, 28))
    assert ran == zoo.default_cuts(name) != []


@every_architecture
def test_weights_are_reproduced_from_the_seed(name):
    nets = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        nets.append(torch.cat([p.flatten() for p in zoo.build(name).parameters()]))
    assert torch.equal(nets[0], nets[1])
    assert not torch.equal(nets[0], nets[2])


def test_default_cuts_is_the_callers_own_list():
    zoo.default_cuts("lenet").append("fc3")
    assert "fc3" not in zoo.default_cuts("lenet")


@pytest.mark.parametrize("ask", [zoo.build, zoo.default_cuts])
def test_an_unknown_name_is_answered_with_the_closest(ask):
    with pytest.raises(OfframpError, match=r"no architecture 'resnet21_cifar'\. Closest: .*'resnet20_cifar'"):
        ask("resnet21_cifar")


def test_a_builder_cannot_take_a_taken_name():
    def lenet(num_classes: int = 10, in_channels: int = 3):
        return torch.nn.Identity()

    with pytest.raises(OfframpError, match="'lenet' is registered twice"):
        zoo.architecture("pool1")(lenet)
    assert zoo.default_cuts("lenet") == ["pool1", "pool2"]
