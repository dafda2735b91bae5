"""Recordings for the calibrators: exits that mostly agree, of growing accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

import offramp as ofr

MakeRecording = Callable[..., ofr.Recording]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_recording() -> MakeRecording:
    def make(
        samples: int,
        exits: int = 4,
        classes: int = 10,
        seed: int = 0,
        levels: int | None = None,
        head: float = 5.0,
    ) -> ofr.Recording:
        """Signal for the label plus noise, most of it shared; `levels` rounds the logits so that scores tie."""
        generator = torch.Generator().manual_seed(seed)
        labels = torch.randint(classes, (samples,), generator=generator)
        scale = torch.randn(samples, 1, generator=generator).mul(0.6).exp()
        shared = torch.randn(samples, classes, generator=generator)
        logits = []
        for signal in torch.linspace(2.5, 4.2, exits).tolist():
            own = torch.randn(samples, classes, generator=generator)
            z = (0.9 * shared + 0.44 * own) * scale
            z[torch.arange(samples), labels] += signal
            logits.append(2 * z if levels is None else (z * levels).round() / levels)
        macs = [1000.0 * (k + 1) / exits for k in range(exits)]
        return ofr.Recording(torch.stack(logits), labels, macs, [head] * (exits - 1), {"split": "calibration"})

    return make
