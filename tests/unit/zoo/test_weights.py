"""Weights between a plain network and its early-exit twin."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from offramp import zoo
from offramp.errors import FileFormatError


def plain(num_classes: int = 10) -> nn.Module:
    return zoo.build("resnet20_cifar", num_classes, image_size=8)


def twin(seed: int = 0):
    return zoo.build_with_exits("resnet20_cifar_earlyexit", image_size=8, seed=seed)


def same(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_plain_weights_become_the_backbone_and_heads_stay():
    source, target = plain(), twin()
    head = target.heads[0].linear.weight.clone()
    assert zoo.load_weights(target, source.state_dict()) == zoo.Loaded(heads=False, ignored=())
    assert same(source, target.backbone)
    assert torch.equal(target.heads[0].linear.weight, head)


def test_a_twins_backbone_becomes_a_plain_network():
    source, target = twin(), plain()
    loaded = zoo.load_weights(target, source.state_dict())
    assert loaded == zoo.Loaded(heads=None, ignored=("heads.0.linear.weight", "heads.0.linear.bias"))
    assert same(source.backbone, target)


def test_a_twin_loads_a_twin_with_its_heads():
    source, target = twin(1), twin(2)
    assert zoo.load_weights(target, source.state_dict()).heads
    assert same(source, target)


@pytest.mark.parametrize("source", [plain, twin])
def test_the_wrapper_for_several_devices_is_seen_through(source):
    state = {f"module.{name}": value for name, value in source().state_dict().items()}
    zoo.load_weights(twin(5), state)


def test_a_wrong_number_of_classes_is_told_and_nothing_changes():
    target = twin()
    before = target.backbone.fc.weight.clone()
    with pytest.raises(FileFormatError, match=r"old\.pt has 100 classes, the network has 10"):
        zoo.load_weights(target, plain(100).state_dict(), "old.pt")
    assert torch.equal(target.backbone.fc.weight, before)


def test_another_network_is_told_by_its_tensors():
    state = zoo.build("resnet32_cifar", image_size=8).state_dict()
    with pytest.raises(
        FileFormatError, match=r"another network: 0 tensors are missing .* are not known here \(e\.g\. "
    ):
        zoo.load_weights(plain(), state)
    with pytest.raises(FileFormatError, match=r"another network: \d+ tensors are missing"):
        zoo.load_weights(zoo.build("resnet32_cifar"), plain().state_dict())


def test_other_widths_are_told():
    state = zoo.build("resnet20_cifar", in_channels=1).state_dict()
    with pytest.raises(FileFormatError, match=r"'conv1\.weight' is \[16, 1, 3, 3\] there and \[16, 3, 3, 3\] here"):
        zoo.load_weights(plain(), state)


def test_other_exits_are_told():
    other = zoo.build_with_exits("resnet20_cifar_earlyexit", image_size=8, exits=["layer1.0", "layer2"])
    with pytest.raises(FileFormatError, match=r"\(exit heads\) holds another network"):
        zoo.load_weights(twin(), other.state_dict())


def test_states_from_before_batches_were_counted_load():
    source, target = plain(), plain()
    state = {k: v for k, v in source.state_dict().items() if not k.endswith("num_batches_tracked")}
    zoo.load_weights(target, state)
    zoo.load_weights(twin(), state)
    assert same(source, target)


def as_distiller_names_it(model, places):
    """A state dict whose heads hang on the places, their layers numbered as in a Sequential with others between."""
    state = dict(model.backbone.state_dict())
    for place, head in zip(places, model.heads, strict=True):
        for name, value in head.state_dict().items():
            layer, _, kind = name.partition(".")
            state[f"{place}.branch_net.{list(dict(head.named_children())).index(layer)}.{kind}"] = value
    return {f"module.{name}": value for name, value in state.items()}


@pytest.mark.parametrize(
    ("arch", "places"),
    [
        ("resnet20_cifar_earlyexit", ["layer1.2.relu2"]),
        ("resnet18_earlyexit", ["layer1.1.relu2", "layer2.1.relu2"]),
    ],
)
def test_distillers_branches_become_the_heads(arch, places):
    source, target = (zoo.build_with_exits(arch, 7, image_size=40, seed=seed) for seed in (1, 2))
    state = as_distiller_names_it(source, places)
    assert f"module.{places[0]}.branch_net.2.weight" in state or "branch_net.0.weight" in str(list(state))
    assert zoo.load_weights(target, state) == zoo.Loaded(heads=True, ignored=())
    assert same(source, target)
    alone = zoo.build(arch.removesuffix("_earlyexit"), 7, image_size=40)
    loaded = zoo.load_weights(alone, state)
    assert same(source.backbone, alone)
    assert len(loaded.ignored) == sum(len(head.state_dict()) for head in source.heads)


def test_distillers_branches_elsewhere_are_told():
    state = as_distiller_names_it(twin(), ["layer1.2.relu2"])
    other = zoo.build_with_exits("resnet20_cifar_earlyexit", image_size=8, exits=["layer1.0", "layer2"])
    with pytest.raises(FileFormatError, match=r"\(exit heads\) holds another network"):
        zoo.load_weights(other, state)
    with pytest.raises(FileFormatError, match=r"\(exit heads\) does not fit|holds another network"):
        zoo.load_weights(twin(), {**state, "module.layer2.2.relu2.branch_net.2.weight": torch.zeros(3, 4)})
