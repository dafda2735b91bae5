"""Verdicts that are really measured, on networks where the answer is beyond doubt."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn

import offramp as ofr
from offramp.errors import InputError, PolicyError
from offramp.verdicts import verdict

QUICK = {"rounds": 6, "samples": 8}
SURE = {"rounds": 21, "samples": 8}
"""Five rounds may be disturbed on either side, and the interval still lies where it should."""


def tower(width: int, layers: int, into: int = 16, out: int = 4) -> nn.Sequential:
    hidden = [part for _ in range(layers) for part in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(nn.Linear(into, width), *hidden, nn.Linear(width, out))


@pytest.fixture(scope="module")
def hopeless() -> ofr.ExitModel:
    """The head costs a multiple of what is behind it."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    return ofr.attach(backbone, at=["1"], example=torch.zeros(1, 16), head=lambda feature, classes: tower(512, 4, 32))


@pytest.fixture(scope="module")
def promising() -> ofr.ExitModel:
    """Nearly all the work is behind the exit."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), tower(512, 6, 32))
    return ofr.attach(backbone, at=["1"], example=torch.zeros(1, 16)).eval()


def letting_go(share: float, model: ofr.ExitModel) -> ofr.Policy:
    """Lets this share of the samples leave at the first exit."""
    with torch.no_grad():
        scores = ofr.criteria.Margin().score(model(X)[0]).sort(descending=True).values
    return ofr.Policy(ofr.criteria.Margin(), [float(scores[round(share * len(X))])])


X = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))
Y = torch.arange(40) % 4


def test_exits_that_cannot_pay(hopeless):
    found = verdict(hopeless, letting_go(0.5, hopeless), (X, Y), batch_sizes=[1, 16], **SURE)
    assert found.answer == {1: "does not pay", 16: "does not pay"}
    assert found.tax.low > 1
    assert "exits do not pay" in found.summary()


def test_exits_that_must_pay(promising):
    found = verdict(promising, letting_go(0.9, promising), (X, Y), batch_sizes=[64], smaller=tower(8, 1), **SURE)
    point = found.at(64)
    assert point.answer == "pays"
    assert point.conditions.distinct == 40
    assert point.shares == pytest.approx((0.9, 0.1), abs=0.01)
    assert [s.name for s in point.showings] == ["plain", "exits", "exit 0 alone", "smaller network"]
    assert point.macs.executed == pytest.approx(point.macs.predicted)
    with torch.no_grad():
        accuracy = float((promising.backbone(X).argmax(-1) == Y).double().mean())
    assert point.plain.worth.accuracy == pytest.approx(accuracy)
    assert point.showing("smaller network").worth.macs == 16 * 8 + 8 * 8 + 8 * 4
    assert 0 < point.exits.peak_bytes < 2**20
    assert point.remainder.measured == pytest.approx(64 * point.exits.seconds)


def test_a_smaller_network_may_have_exits_itself(promising):
    other = ofr.attach(tower(8, 1), at=["1"], example=X[:1])
    found = verdict(promising, ofr.always(exit=0), X, batch_sizes=[8], smaller=other, **QUICK)
    assert found.at(8).showing("smaller network").worth.macs == 16 * 8 + 8 * 8 + 8 * 4
    assert found.tax is None
    assert found.labelled is False


def test_every_kind_of_network(tiny):
    model = tiny.attach()
    policy = ofr.Policy(ofr.criteria.Margin(), [0.3] * (model.exits - 1))
    found = verdict(model, policy, [tiny.batch(5), tiny.batch(4, seed=1)], batch_sizes=[1, 4], **QUICK)
    assert list(found.answer) == [1, 4]
    assert found.samples == 9
    assert all(point.macs.executed == pytest.approx(point.macs.predicted, rel=1e-3) for point in found.points)


def loader() -> Iterable[tuple[Tensor, Tensor]]:
    yield X[:30], Y[:30]
    yield X[30:], Y[30:]


def test_a_loader_gives_the_same_samples_as_a_tuple(promising):
    found = [
        verdict(promising, letting_go(0.5, promising), data, batch_sizes=[8], split="held out", **QUICK)
        for data in ((X, Y), loader())
    ]
    assert found[0].at(8).exits.worth == found[1].at(8).exits.worth
    assert found[0].at(8).shares == found[1].at(8).shares
    assert "of the held out data" in found[0].summary()


@pytest.mark.parametrize("data", [[], X[:0]])
def test_no_data(promising, data):
    with pytest.raises(InputError):
        verdict(promising, ofr.always(exit=0), data, **QUICK)


def test_a_backend_that_does_not_exist(promising):
    with pytest.raises(PolicyError, match="backend"):
        verdict(promising, ofr.always(exit=0), X, backend="onx", **QUICK)


def test_a_policy_for_another_model(promising):
    with pytest.raises(PolicyError, match="thresholds"):
        verdict(promising, ofr.Policy(ofr.criteria.Margin(), [0.1, 0.2]), X, **QUICK)
