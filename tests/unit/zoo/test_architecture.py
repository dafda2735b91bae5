from __future__ import annotations

import pytest
import torch

from offramp import zoo
from offramp.errors import OfframpError

# The deeper ones are put together from the same blocks; tests/golden follows the shapes of all of them.
DEEP = {"resnet34", "resnet101", "resnet152", "resnet56_cifar", "resnet110_cifar", "resnet1202_cifar"}
every_architecture = pytest.mark.parametrize("name", [name for name in zoo.ARCHITECTURES if name not in DEEP])


def test_the_cifar_depths_and_lenet_are_there():
    assert {f"resnet{depth}_cifar" for depth in (20, 32, 44, 56, 110, 1202)} | {"lenet"} <= set(zoo.ARCHITECTURES)
    assert {f"resnet{depth}" for depth in (18, 34, 50, 101, 152)} <= set(zoo.ARCHITECTURES)


@every_architecture
def test_builds_for_the_classes_and_channels_asked_for(name):
    net = zoo.build(name, num_classes=3, in_channels=2, image_size=(28, 36)).eval()
    with torch.no_grad():
        assert net(torch.zeros(1, 2, 28, 36)).shape == (1, 3)


@every_architecture
def test_builds_for_its_own_images_when_nobody_says(name):
    net, images = zoo.build(name).eval(), zoo.images_for(name)
    with torch.no_grad():
        assert net(torch.zeros(1, *images.shape)).shape == (1, images.classes)


@every_architecture
def test_default_cuts_run_in_the_order_given(name):
    net, ran = zoo.build(name, in_channels=3, image_size=32).eval(), []
    for cut in zoo.default_cuts(name):
        net.get_submodule(cut).register_forward_hook(lambda *_, cut=cut: ran.append(cut))
    with torch.no_grad():
        net(torch.zeros(1, 3, 32, 32))
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
    def lenet(num_classes: int = 10, in_channels: int = 3, image_size: int = 28):
        return torch.nn.Identity()

    with pytest.raises(OfframpError, match="'lenet' is registered twice"):
        zoo.architecture("pool1")(lenet)
    assert zoo.default_cuts("lenet") == ["pool1", "pool2"]
