"""Early-exit twins: which there are, where their exits are, and what can be asked of them."""

from __future__ import annotations

import pytest
import torch

import offramp as ofr
from offramp import zoo
from offramp.errors import AttachError, OfframpError
from offramp.heads import AvgPoolLinear, BranchConv, PooledLinear, StridedConv


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110, 1202])
def test_every_cifar_depth_has_one_exit_behind_the_third_block(depth):
    assert zoo.published_exits(f"resnet{depth}_cifar_earlyexit") == ["layer1.2"]


@pytest.mark.parametrize("name", [name for name in zoo.names() if name.endswith("_earlyexit")])
def test_every_exit_names_a_submodule_of_its_network(name):
    with torch.device("meta"):
        modules = dict(zoo.build(zoo.plain_name(name)).named_modules())
    assert set(zoo.published_exits(name)) <= modules.keys()
    assert zoo.published_exits(name) == zoo.published_exits(zoo.plain_name(name)) != []


def test_the_published_heads_for_other_classes_channels_and_sizes():
    model = zoo.build_with_exits("resnet20_cifar_earlyexit", num_classes=7, in_channels=1, image_size=28)
    assert [logits.shape for logits in model.eval()(torch.randn(3, 1, 28, 28))] == [(3, 7), (3, 7)]
    assert isinstance(model.heads[0], AvgPoolLinear)
    assert model.heads[0].linear.in_features == 16 * 9 * 9


@pytest.mark.parametrize("name", ["resnet18_earlyexit", "resnet50_earlyexit"])
def test_imagenet_exits_are_generic_over_the_sizes(name):
    model = zoo.build_with_exits(name, num_classes=5, image_size=64)
    assert [logits.shape for logits in model.eval()(torch.randn(2, 3, 64, 64))] == [(2, 5)] * 3
    assert [head.conv.out_channels for head in model.heads] == [10, 12]


def test_exits_are_moved_and_added_by_name_and_by_share():
    model = zoo.build_with_exits("resnet20_cifar_earlyexit", image_size=16, exits=["layer1.0", 0.5, "0.75"])
    shares = [macs / model.cost.plain for macs in model.cost.macs]
    assert model.cuts[0] == "layer1.0"
    assert shares[1:3] == pytest.approx([0.5, 0.75], abs=0.06)
    assert {type(head) for head in model.heads} == {AvgPoolLinear}


def test_an_exit_that_stays_keeps_its_published_head():
    model = zoo.build_with_exits("resnet18_earlyexit", 5, image_size=32, exits=["layer1.0", "layer1.1", "layer3"])
    assert [(type(head), head.conv.out_channels) for head in model.heads] == [
        (StridedConv, 12),
        (StridedConv, 10),
        (StridedConv, 12),
    ]


def test_a_plain_network_is_given_exits():
    assert isinstance(zoo.build_with_exits("lenet", exits=["pool1"]).heads[0], PooledLinear)
    assert isinstance(zoo.build_with_exits("branchy_lenet", exits=["relu2"]).heads[0], BranchConv)


def test_a_plain_network_without_exits_is_refused_and_its_twin_named():
    with pytest.raises(OfframpError, match=r"'resnet20_cifar' has no exits of its own \(its twin 'resnet20_cifar_ea"):
        zoo.build_with_exits("resnet20_cifar")
    with pytest.raises(OfframpError, match=r"'lenet' has no exits of its own: say where"):
        zoo.build_with_exits("lenet")


def test_a_twin_is_not_built_without_its_exits():
    with pytest.raises(OfframpError, match=r"build_with_exits, or 'resnet20_cifar' without"):
        zoo.build("resnet20_cifar_earlyexit")


@pytest.mark.parametrize("ask", [zoo.build, zoo.build_with_exits, zoo.plain_name, zoo.is_early_exit])
def test_an_unknown_twin_is_answered_with_the_closest(ask):
    with pytest.raises(OfframpError, match=r"no architecture 'resnet33_cifar_earlyexit'\. Closest: .*_earlyexit'"):
        ask("resnet33_cifar_earlyexit")


def test_an_unknown_place_is_answered_with_the_closest():
    with pytest.raises(AttachError, match=r"no submodule 'layer9'.*Closest: 'layer3'"):
        zoo.build_with_exits("resnet20_cifar_earlyexit", image_size=8, exits=["layer9"])


def test_weights_follow_from_the_seed_and_the_global_state_is_kept():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    nets = [zoo.build_with_exits("resnet20_cifar_earlyexit", image_size=8, seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(before, torch.get_rng_state())
    first, again, other = (torch.cat([p.flatten() for p in net.parameters()]) for net in nets)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_kinds_of_images():
    kinds = {name: zoo.data_kind(name) for name in ("resnet56_cifar_earlyexit", "simplenet_mnist", "resnet18", "lenet")}
    assert list(kinds.values()) == ["cifar", "mnist", "imagenet", "mnist"]
    assert zoo.data_kind("a_net_for_mnist") == "mnist"
    assert zoo.images_for("branchy_lenet_earlyexit").shape == (1, 28, 28)


def test_heads_with_settings_come_back_from_a_file(tmp_path):
    model = zoo.build_with_exits("resnet18_earlyexit", num_classes=4, image_size=32)
    model.save(tmp_path)
    again = ofr.ExitModel.load(tmp_path, zoo.build("resnet18", num_classes=4, image_size=32))
    images = torch.randn(2, 3, 32, 32)
    for one, other in zip(model.eval()(images), again.eval()(images), strict=True):
        assert torch.equal(one, other)


def test_taking_the_exits_of_b_lenet():
    model = zoo.build_with_exits("branchy_lenet_earlyexit").eval()
    images = torch.randn(4, 1, 28, 28)
    policy = ofr.Policy(ofr.criteria.Entropy(), (-3.0,))
    assert ofr.deploy(model, policy)(images).exits.tolist() == [0, 0, 0, 0]
