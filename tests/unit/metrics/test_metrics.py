"""Metrics against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

import offramp as ofr
from offramp.errors import RecordingError
from offramp.metrics import (
    accuracy_per_exit,
    brier,
    drop,
    ece,
    exit_rows,
    harm,
    nll,
    paired_counts,
    reliability,
    wilson,
)


def one_hot(predictions: list[int], classes: int = 3, sure: float = 5.0) -> list[list[float]]:
    return [[sure if c == p else 0.0 for c in range(classes)] for p in predictions]


def confident(probabilities: list[float]) -> torch.Tensor:
    """Two-class logits whose first class has these probabilities."""
    p = torch.tensor(probabilities, dtype=torch.float64)
    return torch.stack([p.log(), (1 - p).log()], dim=1)


@pytest.fixture
def recording() -> ofr.Recording:
    """Labels 0; the early exit is right on samples 0, 1, 2, the last on 0, 3, 4, 5."""
    early, last = [0, 0, 0, 1, 1, 1], [0, 1, 1, 0, 0, 0]
    return ofr.Recording([one_hot(early), one_hot(last)], [0] * 6, [1.0, 4.0])


def test_accuracy_per_exit_counts_right_answers(recording: ofr.Recording) -> None:
    assert accuracy_per_exit(recording).tolist() == [3 / 6, 4 / 6]


def test_drop_and_harm_have_the_sign_of_what_is_lost(recording: ofr.Recording) -> None:
    early = ofr.simulate(recording, ofr.always(exit=0))
    assert paired_counts(early, recording) == (3, 2)
    assert harm(early, recording) == 3
    assert drop(early, recording) == pytest.approx(1 / 6)
    assert drop(ofr.simulate(recording, ofr.always(exit=1)), recording) == 0


def test_paired_counts_refuses_decisions_on_other_samples(recording: ofr.Recording) -> None:
    some = ofr.simulate(recording.take(torch.arange(4)), ofr.always(exit=0))
    with pytest.raises(RecordingError, match=r"4 samples and labels of shape \[6\]"):
        paired_counts(some, recording)


def test_exit_rows_give_accuracy_among_those_who_left(recording: ofr.Recording) -> None:
    logits = recording.logits.clone()
    logits[0, 3:] /= 10
    mixed = ofr.Recording(logits, recording.labels, recording.macs)
    policy = ofr.Policy(ofr.criteria.MaxProbability(), [0.9])
    rows = exit_rows(ofr.simulate(mixed, policy), mixed.required_labels)
    assert [(r.exit, r.count, r.share, r.accuracy) for r in rows] == [(0, 3, 0.5, 1.0), (1, 3, 0.5, 1.0)]
    assert rows[0].interval == wilson(3, 3)


def test_an_exit_that_nobody_took_has_no_accuracy(recording: ofr.Recording) -> None:
    rows = exit_rows(ofr.simulate(recording, ofr.always(exit=1)), recording.required_labels)
    assert (rows[0].count, rows[0].share, rows[0].accuracy, rows[0].interval) == (0, 0.0, None, None)


def test_reliability_bins_hold_their_upper_ends() -> None:
    bars = reliability(confident([0.75, 0.75, 0.9, 0.6]), torch.tensor([0, 1, 0, 1]), bins=4)
    assert [bar.count for bar in bars] == [0, 0, 3, 1]
    assert bars[0].accuracy is None
    assert bars[0].confidence is None
    assert bars[2].confidence == pytest.approx((0.75 + 0.75 + 0.6) / 3)
    assert bars[2].accuracy == pytest.approx(1 / 3)


def test_ece_is_the_weighted_gap() -> None:
    # Bin (.5, .75]: three samples, confidence .7, accuracy 1/3. Bin (.75, 1]: one sample, .9 and right.
    logits, labels = confident([0.75, 0.75, 0.9, 0.6]), torch.tensor([0, 1, 0, 1])
    assert ece(logits, labels, bins=4) == pytest.approx(3 / 4 * (0.7 - 1 / 3) + 1 / 4 * 0.1)


def test_ece_of_a_calibrated_forecast_is_zero() -> None:
    labels = torch.tensor([0] * 8 + [1] * 2)
    assert ece(confident([0.8] * 10), labels) == pytest.approx(0, abs=1e-12)


def test_nll_is_minus_the_log_probability_of_the_label() -> None:
    expected = -(math.log(0.75) + math.log(0.1)) / 2
    assert nll(confident([0.75, 0.9]), torch.tensor([0, 1])) == pytest.approx(expected)


def test_brier_sums_over_the_classes() -> None:
    # (1 - .75)^2 + .25^2 = .125 and .9^2 + (1 - .1)^2 = 1.62
    assert brier(confident([0.75, 0.9]), torch.tensor([0, 1])) == pytest.approx((0.125 + 1.62) / 2)


@pytest.mark.parametrize(("successes", "samples", "level"), [(0, 7, 0.95), (7, 7, 0.9), (3, 50, 0.99), (20, 41, 0.95)])
def test_wilson_is_that_of_scipy(successes: int, samples: int, level: float) -> None:
    reference = stats.binomtest(successes, samples).proportion_ci(level, method="wilson")
    assert wilson(successes, samples, level) == pytest.approx((reference.low, reference.high), abs=1e-12)


@pytest.mark.parametrize(("successes", "samples", "level"), [(1, 0, 0.95), (-1, 5, 0.95), (6, 5, 0.95), (1, 5, 1.0)])
def test_wilson_refuses_impossible_counts(successes: int, samples: int, level: float) -> None:
    with pytest.raises(RecordingError, match="0 <= successes <= samples"):
        wilson(successes, samples, level)


def test_labels_of_other_samples_are_refused() -> None:
    for metric in (ece, nll, brier):
        with pytest.raises(RecordingError, match="one class index per sample"):
            metric(confident([0.5, 0.5]), torch.tensor([0]))
