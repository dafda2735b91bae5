from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from offramp import Recording
from offramp.benchmark.scoring import BUDGETS, COLUMNS, area, choose, frontier_columns, judged
from offramp.criteria import CRITERIA, MaxProbability


def recording(seed: int = 0, samples: int = 60, depth_pays: float = 1.0) -> Recording:
    """Three exits whose logits point at the label, the later the more surely."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (samples,), generator=generator)
    noise = torch.randn(3, samples, 4, generator=generator)
    signal = torch.nn.functional.one_hot(labels, 4) * torch.tensor([0.5, 1.0, 2.0]).view(3, 1, 1) * depth_pays
    return Recording(noise + signal, labels, macs=[20.0, 55.0, 110.0], head_macs=[5.0, 5.0])


def test_the_papers_columns_are_among_the_budgets():
    assert set(COLUMNS) <= set(BUDGETS)
    assert (BUDGETS[0], BUDGETS[-1], len(BUDGETS)) == (0.25, 1.0, 16)


@given(st.integers(0, 50), st.sampled_from(["max_probability", "entropy", "patience"]))
def test_no_shared_threshold_within_the_budget_is_more_accurate(seed, criterion):
    found = recording(seed)
    choices = choose(found, CRITERIA[criterion](), [0.3, 0.6, 1.0, None])
    for budget, choice in zip([0.3, 0.6, 1.0, float("inf")], choices, strict=True):
        assert choice is not None
        assert choice.macs_share <= budget + 1e-9
        # What the choice promises is what taking its exits gives.
        assert judged([choice], found)[0] == pytest.approx((choice.accuracy, choice.macs_share))
    grid = [choice.accuracy for choice in choices]
    assert grid == sorted(grid)


def test_the_plain_network_is_a_candidate_at_exactly_its_macs():
    found = recording(depth_pays=0.0)
    labels = found.required_labels
    logits = found.logits.clone()
    logits[-1] = torch.nn.functional.one_hot(labels, 4).float()
    perfect = Recording(logits, labels, found.macs, found.head_macs)
    (choice,) = choose(perfect, MaxProbability(), [1.0])
    assert (choice.accuracy, choice.macs_share) == (1.0, 1.0)
    assert judged([choice], perfect) == [(1.0, 1.0)]


def test_a_budget_below_the_first_exit_has_no_policy():
    # Its 20 MACs are a fifth of the backbone's 100.
    choices = choose(recording(), MaxProbability(), [0.1, 0.2])
    assert choices[0] is None
    assert choices[1] is not None
    columns = frontier_columns(choices, judged(choices, recording(1)))
    assert columns["test_accuracy"][0] is None
    assert columns["threshold"] == [None, None]


def test_thresholds_do_not_see_the_samples_that_judge():
    calibration, test = recording(0), recording(1)
    (choice,) = choose(calibration, MaxProbability(), [0.6])
    shuffled = Recording(test.logits, test.required_labels.flip(0), test.macs, test.head_macs)
    before, after = judged([choice], test)[0], judged([choice], shuffled)[0]
    assert before[1] == after[1]
    assert before[0] != after[0]


def test_area_is_the_mean_height_and_counts_missing_budgets_as_nothing():
    assert area([0.5] * 16) == pytest.approx(0.5)
    assert area([0.0, 1.0], budgets=[0.0, 1.0]) == pytest.approx(0.5)
    assert area([None, 1.0, 1.0], budgets=[0.0, 0.5, 1.0]) == pytest.approx(0.75)
