"""Hard budgets: never exceeded, and spent on those who need it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import offramp as ofr
from offramp.cost import Cost
from offramp.criteria import Margin, MaxProbability
from offramp.errors import CalibrationError, PolicyError

COST = Cost(macs=(10.0, 25.0, 60.0), head_macs=(1.0, 2.0))


def recording(samples: int = 50, seed: int = 0) -> ofr.Recording:
    logits = 3 * torch.randn(3, samples, 4, generator=torch.Generator().manual_seed(seed))
    return ofr.Recording(logits, None, COST.macs, COST.head_macs)


@pytest.mark.parametrize(
    ("deadline", "expected"),
    [
        (10, (-torch.inf, torch.inf)),
        (25, (0.9, -torch.inf)),
        (59.9, (0.9, -torch.inf)),
        (60, (0.9, 0.8)),
        (99, (0.9, 0.8)),
    ],
)
def test_what_has_not_left_by_the_last_exit_in_time_leaves_there(
    deadline: float, expected: tuple[float, float]
) -> None:
    policy = ofr.by_deadline(ofr.Policy(Margin(), [0.9, 0.8]), COST, deadline)
    assert policy.thresholds == expected
    costs = ofr.simulate(recording(), policy).macs
    assert costs is not None
    assert float(costs.max()) <= deadline


def test_heads_that_are_closed_leave_more_time() -> None:
    # Without the first head the second exit costs 24.
    assert ofr.by_deadline(ofr.Policy(Margin(), [torch.inf, 0.8]), COST, 24).thresholds == (torch.inf, -torch.inf)
    assert ofr.by_deadline(ofr.Policy(Margin(), [0.5, 0.8]), COST, 24).thresholds == (-torch.inf, torch.inf)


def test_a_deadline_before_the_first_exit_is_refused() -> None:
    with pytest.raises(CalibrationError, match="the first exit alone costs 10"):
        ofr.by_deadline(ofr.Policy(Margin(), [0.9, 0.8]), COST, 9)
    with pytest.raises(PolicyError, match="one threshold per early exit"):
        ofr.by_deadline(ofr.Policy(Margin(), [0.9]), COST, 99)


@given(seed=st.integers(0, 1000), share=st.floats(0.17, 1.1), first=st.floats(0.2, 1.0), closed=st.booleans())
def test_the_total_is_never_exceeded(seed: int, share: float, first: float, closed: bool) -> None:
    samples = recording(seed=seed)
    policy = ofr.Policy(MaxProbability(), [first, torch.inf if closed else 0.8])
    total = share * 60 * 50
    decisions = ofr.within_total(samples, policy, total)
    assert decisions.macs is not None
    assert float(decisions.macs.sum()) <= total * (1 + 1e-12)
    # Nobody goes further than the thresholds send them.
    assert (decisions.exits <= ofr.simulate(samples, policy).exits).all()


def test_enough_for_all_is_what_the_thresholds_say() -> None:
    samples, policy = recording(), ofr.Policy(MaxProbability(), [0.9, 0.8])
    ample, simulated = ofr.within_total(samples, policy, 60 * 50), ofr.simulate(samples, policy)
    assert ample.exits.tolist() == simulated.exits.tolist()
    assert torch.equal(ample.logits, simulated.logits)


def test_the_least_sure_go_on() -> None:
    samples, policy = recording(), ofr.Policy(MaxProbability(), [2.0, 2.0])
    decisions = ofr.within_total(samples, policy, 10 * 50 + 15 * 20)
    scores = policy.score(0, samples.logits[0])
    assert int((decisions.exits > 0).sum()) == 20
    assert float(scores[decisions.exits > 0].max()) <= float(scores[decisions.exits == 0].min())


def test_a_budget_of_time_counts_seconds() -> None:
    seconds = Cost((1.0, 2.0, 4.0), (0.0, 0.0))
    decisions = ofr.within_total(recording(), ofr.Policy(MaxProbability(), [2.0, 2.0]), 60, seconds)
    assert torch.bincount(decisions.exits, minlength=3).tolist() == [40, 10, 0]
    assert decisions.macs is not None
    assert float(decisions.macs.max()) == 25


def test_a_total_below_the_first_exit_is_refused() -> None:
    with pytest.raises(CalibrationError, match="50 samples cost 500 at exit 0 already"):
        ofr.within_total(recording(), ofr.Policy(MaxProbability(), [0.9, 0.9]), 499)
