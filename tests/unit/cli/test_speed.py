from __future__ import annotations

import pytest
import torch
from torch import nn

import offramp as ofr
from offramp.cli.steps.speed import measure_speed
from offramp.reporters.results import Source


def test_both_networks_are_timed_on_the_same_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    model = ofr.attach(backbone, at=["1"], example=torch.zeros(1, 3)).eval()
    inputs = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
    exits = (torch.arange(300) % 4 == 0).long()
    monkeypatch.setattr("offramp.cli.steps.speed.ROUNDS", 2)
    found = measure_speed(model, ofr.always(exit=0), inputs, exits, Source("test", 300, 0, "cpu"))
    pytest.importorskip("onnxruntime")
    assert [(speed.calls, speed.source.samples) for speed in found] == [
        ("batch 1", 64),
        ("batch 256", 256),
        ("batch 256, stream", 300),
        ("batch 1, ONNX Runtime", 64),
        ("batch 256, ONNX Runtime", 256),
    ]
    for speed in found:
        assert speed.backend in ("eager", "onnxruntime")
        assert speed.shares == pytest.approx((0.75, 0.25))
        assert speed.rounds == 2
        assert speed.ratio == pytest.approx(speed.exits.median / speed.plain.median)


def test_a_model_that_onnx_runtime_does_not_take_is_timed_in_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).to(torch.bfloat16)
    model = ofr.attach(backbone, at=["1"], example=torch.zeros(1, 3, dtype=torch.bfloat16)).eval()
    monkeypatch.setattr("offramp.cli.steps.speed.ROUNDS", 2)
    inputs = torch.zeros(64, 3, dtype=torch.bfloat16)
    found = measure_speed(model, ofr.always(exit=0), inputs, torch.zeros(64).long(), Source("test", 64, 0, "cpu"))
    assert {speed.backend for speed in found} == {"eager"}
