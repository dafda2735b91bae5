"""`at="auto"`, and the proposal that looks at data."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import offramp as ofr
from offramp.backbones import Place
from offramp.backbones.placement import nearest, proposed
from offramp.errors import AttachError, RecordingError
from offramp.proposal import Proposal, propose


def place(name: str, share: float, carry: int = 16, tensors: int = 1, brought: int = 0) -> Place:
    return Place(name, "Linear", share * 100, share, 0, (4,), tensors, carry, None, brought)


def deep() -> nn.Sequential:
    return nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(9)), nn.Linear(8, 3))


def test_auto_spreads_exits_over_the_macs():
    assert proposed([place(str(k), k / 8) for k in range(1, 8)], 3) == ["2", "4", "6"]


def test_auto_prefers_what_carries_less_nearby_but_not_far_away():
    places = [place("near", 0.5), place("small", 0.55, carry=4), place("tiny", 0.7, carry=1)]
    assert proposed(places, 1) == ["small"]


def test_auto_gives_as_many_as_there_are_places_for():
    assert proposed([place("a", 0.8), place("b", 0.9)], 2) == ["a", "b"]
    with pytest.raises(AttachError, match=r"auto:3.*\['a', 'b'\].*fewer exits"):
        proposed([place("a", 0.8), place("b", 0.9)], 3)


def test_masks_and_inputs_that_cross_do_not_make_a_cut_unclean():
    assert nearest([place("masked", 0.5, tensors=3, brought=2), place("far", 0.3)], 0.5) == "masked"
    assert nearest([place("shortcut", 0.5, tensors=2), place("far", 0.3)], 0.5) == "far"


@pytest.mark.parametrize(("at", "exits"), [("auto", 2), ("auto:1", 1), ("auto:4", 4)])
def test_attach_places_exits_by_itself(at, exits):
    model = ofr.attach(deep(), at=at, example=torch.zeros(2, 8))
    assert len(model.cuts) == exits
    shares = {p.name: p.share for p in ofr.inspect(model.backbone, torch.zeros(2, 8))}
    for k, name in enumerate(model.cuts, 1):
        assert shares[name] == pytest.approx(k / (exits + 1), abs=0.08)


@pytest.mark.parametrize("at", ["auto:0", "auto:", "auto:x", "automatic"])
def test_other_words_are_refused(at):
    with pytest.raises(AttachError, match=f"at='{at}'.*'auto:3'"):
        ofr.attach(deep(), at=at, example=torch.zeros(2, 8))


class Stepwise(nn.Module):
    """Its second block reveals what its first hides: the sign of a product."""

    def __init__(self) -> None:
        super().__init__()
        self.a = Hiding()
        self.b = Revealing()
        self.c = nn.Sequential(nn.Linear(2, 2), nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(x)))


class Hiding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2, bias=False)
        self.linear.weight.data = torch.eye(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class Revealing(Hiding):
    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        return torch.stack([x[:, 0] * x[:, 1], x[:, 0]], 1)


def xor(samples: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(samples, 2, generator=torch.Generator().manual_seed(1))
    return x, (x[:, 0] * x[:, 1] > 0).long()


def test_advice_finds_the_depth_at_which_the_labels_can_be_read():
    x, y = xor(600)
    proposal = propose(Stepwise(), x[:2], [(x[:300], y[:300]), (x[300:], y[300:])], exits=1)
    accuracies = {probe.place.name: probe.accuracy for probe in proposal.probes}
    assert accuracies["a"] < 0.65
    assert accuracies["b"] > 0.8
    assert proposal.samples == 300
    assert isinstance(proposal, Proposal)
    assert "b" in str(proposal)
    assert ofr.attach(Stepwise(), at=proposal.at, example=x[:2]).cuts == tuple(proposal.at)


def test_advice_counts_a_row_at_the_first_of_the_chosen_places_that_is_right():
    x, y = xor(600)
    both = propose(Stepwise(), x[:2], [(x, y)], exits=2)
    one = propose(Stepwise(), x[:2], [(x, y)], exits=1)
    assert both.saving >= one.saving > 0
    assert both.saving <= max(1 - probe.place.share for probe in both.probes)


def test_advice_stops_at_so_many_samples_and_leaves_the_model_alone():
    x, y = xor(64)
    served = 0

    def loader():
        nonlocal served
        while True:
            served += 1
            yield x, y

    backbone = Stepwise().train()
    assert propose(backbone, x[:2], loader(), samples=128).samples == 64
    assert served == 2
    assert backbone.training
    assert not any(m._forward_hooks for m in backbone.modules())


def test_advice_needs_labels_and_samples():
    x, _ = xor(8)
    with pytest.raises(RecordingError, match="no labels"):
        propose(Stepwise(), x[:2], [x])
    with pytest.raises(RecordingError, match="fewer than two samples"):
        propose(Stepwise(), x[:2], [])
