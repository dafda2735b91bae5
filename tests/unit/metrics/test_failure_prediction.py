"""Failure prediction and overthinking, against values worked out by hand and against scikit-learn."""

from __future__ import annotations

import pytest
import torch

import offramp as ofr
from offramp.calibrators import fit_temperatures
from offramp.criteria import Margin
from offramp.errors import PolicyError, RecordingError
from offramp.metrics import auroc, brier, ece, exit_quality, nll, overthinking


def noisy(samples: int = 800) -> ofr.Recording:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (samples,), generator=generator)
    truth = torch.nn.functional.one_hot(labels, 4).float()
    logits = torch.stack([3 * (truth + s * torch.randn(samples, 4, generator=generator)) for s in (1.0, 0.8, 0.6)])
    return ofr.Recording(logits, labels, [10.0, 20.0, 40.0], [1.0, 2.0])


def test_auroc_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = torch.Generator().manual_seed(0)
    scores = (8 * torch.rand(500, generator=generator)).round()
    right = torch.rand(500, generator=generator) < scores / 8
    assert auroc(scores, right) == pytest.approx(metrics.roc_auc_score(right.numpy(), scores.numpy()))


def test_auroc_needs_right_and_wrong_answers_and_no_nan() -> None:
    assert auroc(torch.tensor([0.1, 0.2]), torch.tensor([True, True])) is None
    assert auroc(torch.tensor([0.1, 0.2]), torch.tensor([False, False])) is None
    with pytest.raises(RecordingError, match="1 of 2 scores are NaN"):
        auroc(torch.tensor([0.1, torch.nan]), torch.tensor([True, False]))
    with pytest.raises(RecordingError, match="one class index per sample"):
        auroc(torch.tensor([0.1, 0.2]), torch.tensor([True]))


def test_quality_is_that_of_scaled_logits() -> None:
    recording = noisy()
    rows = exit_quality(recording, temperatures=[2.0, 0.5])
    assert [row.temperature for row in rows] == [2.0, 0.5, 1.0]
    for row, logits in zip(rows, recording.logits, strict=True):
        scaled, labels = logits.double() / row.temperature, recording.required_labels
        assert (row.ece, row.brier, row.nll) == (ece(scaled, labels), brier(scaled, labels), nll(scaled, labels))
        assert row.accuracy == float((logits.argmax(1) == labels).double().mean())
        assert row.auroc == auroc(scaled.softmax(1).amax(1), logits.argmax(1) == labels)


def test_temperatures_repair_the_likelihood_and_hardly_touch_the_ranking() -> None:
    recording = noisy()
    before, after = exit_quality(recording), exit_quality(recording, temperatures=fit_temperatures(recording))
    for old, new in zip(before[:-1], after[:-1], strict=True):
        assert new.nll < old.nll
        assert old.auroc is not None
        assert new.auroc == pytest.approx(old.auroc, abs=0.02)
    assert before[-1] == after[-1]


def test_quality_is_of_the_criterions_scores() -> None:
    recording = noisy()
    top = recording.logits[0].double().softmax(1).topk(2).values
    expected = auroc(top[:, 0] - top[:, 1], recording.correct[0])
    assert exit_quality(recording, Margin())[0].auroc == expected


def test_temperatures_must_fit() -> None:
    with pytest.raises(PolicyError, match="one of each per early exit"):
        exit_quality(noisy(), temperatures=[1.0])


def test_overthinking_counts_what_depth_wastes_and_destroys() -> None:
    # Right at: both, early only, last only, none.
    early, last = [[4.0, 0.0]] * 2 + [[0.0, 4.0]] * 2, [[4.0, 0.0], [0.0, 4.0], [4.0, 0.0], [0.0, 4.0]]
    found = overthinking(ofr.Recording([early, last], [0] * 4, [12.0, 42.0], [2.0]))
    assert (found.wasteful, found.destructive, found.oracle_accuracy) == (0.5, 0.25, 0.75)
    # Exit 0 with its head costs 12, the last without it 40.
    assert found.oracle_macs == (12 + 12 + 40 + 12) / 4
    assert found.oracle_macs_share == found.oracle_macs / 40


def test_no_policy_beats_the_oracle() -> None:
    recording = noisy()
    bound = overthinking(recording)
    assert all(p.accuracy <= bound.oracle_accuracy for p in ofr.frontier(recording))
