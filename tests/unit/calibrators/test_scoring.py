"""Score tables: what they compute, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import offramp as ofr
from offramp.calibrators.scoring import between, score_table
from offramp.criteria import Always, Criterion, Entropy, MaxProbability
from offramp.errors import CalibrationError, RecordingError

MakeRecording = Callable[..., ofr.Recording]


@dataclass(frozen=True)
class NotANumber(Criterion):
    """Scores sample 1 as NaN."""

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        return logits[:, 0].index_fill(0, torch.tensor([1]), float("nan"))

    def grid(self, classes: int, size: int) -> list[float]:
        return [0.0]


def test_scores_and_exits_are_those_of_simulate(make_recording: MakeRecording) -> None:
    recording = make_recording(200)
    table = score_table(recording, Entropy(), [1.5, 2.0, 0.5])
    thresholds = [-0.1, float("inf"), -0.8]
    decisions = ofr.simulate(recording, table.policy(thresholds))
    assert table.exits(thresholds).tolist() == decisions.exits.tolist()
    assert len(set(decisions.exits.tolist())) == 3
    assert table.costs(thresholds)[decisions.exits].mean() == pytest.approx(decisions.mean_macs)


def test_plain_is_the_network_without_exits(make_recording: MakeRecording) -> None:
    recording = make_recording(50)
    decisions = ofr.simulate(recording, score_table(recording, MaxProbability(), None).plain())
    assert decisions.exits.tolist() == [3] * 50
    assert decisions.mean_macs == recording.plain_macs


def test_one_exit_leaves_nothing_to_choose() -> None:
    recording = ofr.Recording(torch.zeros(1, 3, 2), [0, 1, 0], [10.0])
    with pytest.raises(CalibrationError, match=r"one exit.*Attach early exits"):
        score_table(recording, MaxProbability(), None)


def test_always_leaves_nothing_to_choose(make_recording: MakeRecording) -> None:
    with pytest.raises(CalibrationError, match=r"offramp\.always\(exit=2\)"):
        score_table(make_recording(5), Always(exit=2), None)


def test_temperatures_must_be_one_per_early_exit(make_recording: MakeRecording) -> None:
    with pytest.raises(CalibrationError, match="2 values, the recording has 3 early exits"):
        score_table(make_recording(5), MaxProbability(), [1.0, 1.0])


def test_nan_scores_are_named(make_recording: MakeRecording) -> None:
    with pytest.raises(CalibrationError, match="1 samples of exit 0 as NaN, the first is sample 1"):
        score_table(make_recording(5), NotANumber(), None)


def test_labels_are_needed(make_recording: MakeRecording) -> None:
    labelled = make_recording(5)
    with pytest.raises(RecordingError, match="needs labels"):
        score_table(ofr.Recording(labelled.logits, None, labelled.macs), MaxProbability(), None)


floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(floats, floats), min_size=1))
def test_a_threshold_between_separates_the_two_scores(pairs: list[tuple[float, float]]) -> None:
    distinct = [sorted(pair) for pair in pairs if pair[0] != pair[1]] or [[0.0, 1.0]]
    low, high = np.array(distinct, dtype=np.float32).T
    thresholds = torch.tensor(between(high, low))
    assert thresholds.dtype == torch.float32
    for threshold, lower, upper in zip(thresholds.tolist(), low.tolist(), high.tolist(), strict=True):
        scores = torch.tensor([lower, upper], dtype=torch.float32)
        assert (scores > threshold).tolist() == [False, True]


@pytest.mark.parametrize(("high", "low"), [(np.inf, 1.0), (1.0, -np.inf), (np.inf, -np.inf)])
def test_infinite_scores_are_separated_too(high: float, low: float) -> None:
    threshold = float(between(np.array([high]), np.array([low]))[0])
    assert high > threshold
    assert not low > threshold
