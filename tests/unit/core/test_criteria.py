"""The values of the criteria, worked out by hand; what they all keep to is in tests/conformance."""

from __future__ import annotations

import math

import pytest
import torch

from offramp.criteria import Always, Entropy, Margin, MaxProbability, criterion_from_dict
from offramp.criteria.criterion import log_odds
from offramp.errors import PolicyError

# Softmax of these is (1/2, 1/4, 1/4).
LOGITS = torch.tensor([[math.log(2.0), 0.0, 0.0]], dtype=torch.float64)


def test_values():
    assert MaxProbability().score(LOGITS).item() == pytest.approx(0.5)
    assert Margin().score(LOGITS).item() == pytest.approx(0.25)
    assert Entropy().score(LOGITS).item() == pytest.approx(-1.5 * math.log(2))
    assert Always(0).score(LOGITS).item() == 0.0


def test_ranges():
    even, sure = torch.zeros(1, 4), torch.tensor([[200.0, 0.0, 0.0, 0.0]])
    assert (MaxProbability().score(even).item(), MaxProbability().score(sure).item()) == (0.25, 1.0)
    assert (Margin().score(even).item(), Margin().score(sure).item()) == (0.0, 1.0)
    assert Entropy().score(even).item() == pytest.approx(-math.log(4))
    assert Entropy().score(sure).item() == 0.0


def test_a_class_that_is_masked_out_counts_for_nothing():
    masked, rest = torch.tensor([[1.0, 2.0, -float("inf")]]), torch.tensor([[1.0, 2.0]])
    for criterion in (MaxProbability(), Margin(), Entropy()):
        assert criterion.score(masked).item() == pytest.approx(criterion.score(rest).item())


def test_grids_span_the_scores():
    assert MaxProbability().grid(10, 100)[0] == pytest.approx(1, abs=1e-4)
    assert 0.1 < MaxProbability().grid(10, 100)[-1] < 0.15
    assert 0 < Margin().grid(10, 100)[-1] < 0.05
    assert -1e-3 < Entropy().grid(10, 100)[0] < 0
    assert -math.log(10) < Entropy().grid(10, 100)[-1] < -0.95 * math.log(10)


def test_log_odds_are_evenly_spaced():
    odds = [math.log(p / (1 - p)) for p in log_odds(5, top=2, bottom=-2)]
    assert odds == pytest.approx([2, 1, 0, -1, -2])
    assert log_odds(1, top=0) == [0.5]


@pytest.mark.parametrize("data", [5, None, "margin", {"name": ["margin"]}, {"title": "margin"}], ids=repr)
def test_not_a_criterion(data):
    with pytest.raises(PolicyError, match="Not a criterion") as caught:
        criterion_from_dict(data)
    assert repr(data) in str(caught.value)
    assert "max_probability" in str(caught.value)


def test_an_unregistered_criterion_cannot_be_written():
    class Mine(Margin):
        pass

    with pytest.raises(PolicyError, match=r"Mine.*register\(\)"):
        Mine().to_dict()
