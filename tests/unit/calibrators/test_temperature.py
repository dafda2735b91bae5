"""Temperature scaling: the minimum is found, wherever it lies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import offramp as ofr
from offramp.calibrators import fit_temperatures, temperature
from offramp.calibrators.temperature import COLDEST, HOTTEST, fit_temperature
from offramp.errors import RecordingError
from offramp.metrics import ece, nll

MakeRecording = Callable[..., ofr.Recording]


def sampled(samples: int, classes: int, true: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose labels are drawn at the temperature `true`."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(samples, classes, generator=generator)
    return logits, torch.multinomial((logits / true).softmax(dim=1), 1, generator=generator)[:, 0]


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_of_the_labels_is_recovered(true: float) -> None:
    logits, labels = sampled(20_000, 5, true, seed=1)
    assert fit_temperature(logits, labels) == pytest.approx(true, rel=0.05)


@given(scale=st.floats(0.05, 20), seed=st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_no_neighbouring_temperature_is_more_likely(scale: float, seed: int) -> None:
    logits, labels = sampled(300, 4, 1.0, seed)
    fitted = fit_temperature(logits * scale, labels)
    best = nll(logits * scale / fitted, labels)
    assert all(best <= nll(logits * scale / (fitted * factor), labels) + 1e-12 for factor in (0.98, 1.02))


def test_perfect_and_hopeless_exits_end_at_the_range() -> None:
    logits, labels = torch.eye(4).repeat(5, 1), torch.arange(4).repeat(5)
    assert fit_temperature(logits, labels) == pytest.approx(COLDEST, rel=1e-3)
    assert fit_temperature(logits, (labels + 1) % 4) == pytest.approx(HOTTEST, rel=1e-3)
    assert COLDEST <= fit_temperature(torch.zeros(20, 4), labels) <= HOTTEST


def test_one_temperature_per_early_exit_that_calibrates_it() -> None:
    logits, labels = sampled(5000, 5, 2.0, seed=3)
    recording = ofr.Recording(torch.stack([logits, 2 * logits, logits]), labels, [1.0, 2.0, 3.0])
    fitted = fit_temperatures(recording)
    assert fitted == pytest.approx((2.0, 4.0), rel=0.1)
    for k, value in enumerate(fitted):
        assert ece(recording.logits[k] / value, labels) < 0.02 < ece(recording.logits[k], labels)


def test_large_recordings_are_subsampled_by_the_seed(
    make_recording: MakeRecording, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = make_recording(3000)
    whole = fit_temperatures(recording)
    monkeypatch.setattr(temperature, "ELEMENTS", 1)
    assert fit_temperatures(recording, seed=1) == fit_temperatures(recording, seed=1)
    assert fit_temperatures(recording, seed=1) != fit_temperatures(recording, seed=2)
    assert fit_temperatures(recording, seed=1) == pytest.approx(whole, rel=0.1)


def test_labels_are_needed(make_recording: MakeRecording) -> None:
    labelled = make_recording(5)
    with pytest.raises(RecordingError, match="needs labels"):
        fit_temperatures(ofr.Recording(labelled.logits, None, labelled.macs))
