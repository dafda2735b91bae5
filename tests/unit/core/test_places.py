"""`inspect` lists the places, `at=[share]` chooses among them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import offramp as ofr
from offramp.backbones import Place
from offramp.backbones.placement import nearest

X = torch.zeros(1, 4)


def wide() -> nn.Sequential:
    """MACs 40, 100, 100, 30: shares .148, .519, .889 and 1."""
    return nn.Sequential(
        nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 10), nn.Linear(10, 3, bias=False)
    )


def test_places_come_in_order_with_their_costs():
    places = ofr.inspect(wide(), X)
    assert [p.name for p in places] == ["0", "1", "2", "3", "4", "5"]
    assert [p.macs for p in places] == [40, 40, 140, 140, 240, 270]
    assert [p.parameters for p in places] == [50, 50, 160, 160, 270, 300]
    assert [p.kind for p in places][:2] == ["Linear", "ReLU"]
    assert places[2].share == pytest.approx(140 / 270)
    assert places[2].shape == (10,)
    assert places[2].carry_bytes == 40
    assert all(p.refused is None and p.tensors == 1 for p in places[:-1])


def test_inside_a_residual_two_tensors_cross(tiny_resnet):
    places = {p.name: p for p in ofr.inspect(tiny_resnet.make(), tiny_resnet.batch(2))}
    assert places["layer1"].tensors == 1
    assert places["layer1.conv"].tensors == 2
    assert places["layer1.conv"].carry_bytes == 2 * places["layer1"].carry_bytes


def test_what_cannot_be_cut_says_why():
    class TimeFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(4, 5)
            self.out = nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(x.transpose(0, 1))[0][-1])

    places = {p.name: p for p in ofr.inspect(TimeFirst(), torch.zeros(2, 6, 4))}
    assert "batch in dimension 1" in places["rnn"].refused
    assert places["out"].refused is None


def test_inside_a_container_that_tracing_cannot_enter_hooks_cut():
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(10, 10)

        def forward(self, x: Tensor) -> Tensor:
            y = self.inner(x)
            return y if y.isfinite().all() else x

    backbone = nn.Sequential(nn.Linear(4, 10), Branching(), nn.Linear(10, 3))
    survey = ofr.backbones.survey(backbone, torch.ones(2, 4))
    assert [p.name for p in survey.places] == ["0", "1.inner", "1", "2"]
    assert [p.macs for p in survey.places] == [40, 140, 140, 170]
    assert [p.parameters for p in survey.places] == [50, 160, 160, 193]
    assert [p.engine for p in survey.places] == ["spine", "hooks", "spine", "spine"]
    assert "'1' (Branching) cannot be divided" in survey.refusals["spine"]
    assert "data-dependent" in survey.refusals["export"]
    assert ofr.attach(backbone, at=["1.inner"], example=torch.ones(2, 4)).chain().engine == "hooks"


def test_inspecting_changes_nothing(tiny):
    backbone = tiny.make().train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    assert ofr.inspect(backbone, tiny.batch(2))
    assert torch.equal(torch.rand(1), expected)
    assert all(m.training for m in backbone.modules())
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_every_place_that_is_not_refused_can_be_cut(tiny):
    places = [p for p in ofr.inspect(tiny.make(), tiny.batch(2)) if p.refused is None and p.shape]
    assert len(places) >= 2
    for place in places[:-1]:
        model = ofr.attach(tiny.make(), at=[place.name], example=tiny.batch(2))
        assert model.cost.macs[0] - model.cost.head_macs[0] == place.macs


@pytest.mark.parametrize(("share", "cut"), [(0.1, "1"), (0.45, "3"), (0.6, "3"), (0.9, "4")])
def test_a_share_is_the_nearest_place(share, cut):
    """Of a layer and its activation, which cost the same, the later one."""
    model = ofr.attach(wide(), at=[share], example=X)
    assert model.cuts == (cut,)


def test_shares_and_names_mix():
    assert ofr.attach(wide(), at=["1", 0.5], example=X).cuts == ("1", "3")


def test_shares_that_fall_on_one_place_are_refused():
    with pytest.raises(ofr.errors.AttachError, match="two cuts are at '3'"):
        ofr.attach(wide(), at=[0.5, 0.55], example=X)


def place(name: str, share: float, tensors: int = 1, refused: str | None = None) -> Place:
    return Place(name, "Linear", share * 100, share, 0, (4,), tensors, 16, refused)


def test_clean_cuts_come_before_near_ones():
    assert nearest([place("dirty", 0.5, tensors=2), place("clean", 0.3)], 0.5) == "clean"
    assert nearest([place("dirty", 0.5, tensors=2), place("refused", 0.4, refused="mixes")], 0.4) == "dirty"


def test_among_equals_the_outer_module_is_chosen_then_the_later_one():
    assert nearest([place("layer", 0.5), place("a.b.c", 0.5)], 0.5) == "layer"
    assert nearest([place("conv", 0.5), place("norm", 0.5), place("relu.0", 0.5)], 0.5) == "norm"


def test_nowhere_to_cut():
    with pytest.raises(ofr.errors.AttachError, match=r"at=0\.5.*offramp\.inspect"):
        nearest([place("all", 1.0), place("no", 0.5, refused="mixes")], 0.5)
