"""A network in half precision, or with its channels last: a copy, whose gate computes in fp32."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import offramp as ofr
from offramp.errors import InputError


@pytest.fixture
def model() -> ofr.ExitModel:
    torch.manual_seed(0)
    backbone = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)),
    )
    return ofr.attach(backbone, at=["1"], example=torch.randn(2, 3, 8, 8)).eval()


@pytest.fixture
def policy() -> ofr.Policy:
    return ofr.Policy(ofr.criteria.MaxProbability(), [0.23])


@pytest.mark.parametrize("backend", ["eager", "onnxruntime"])
def test_channels_last_changes_no_decision_and_not_the_model(model, policy, backend):
    seen = []
    x = torch.randn(12, 3, 8, 8)
    expected = ofr.deploy(model, policy)(x)
    runtime = ofr.deploy(model, policy, backend=backend, channels_last=True)
    if backend == "eager":
        runtime.model.backbone[0].register_forward_pre_hook(lambda m, args: seen.append(args[0]))
        seen_weight = runtime.model.backbone[0].weight
        assert seen_weight.is_contiguous(memory_format=torch.channels_last)
    decisions = runtime(x)
    assert decisions.exits.tolist() == expected.exits.tolist()
    torch.testing.assert_close(decisions.logits, expected.logits)
    assert all(t.is_contiguous(memory_format=torch.channels_last) for t in seen)
    assert model.backbone[0].weight.is_contiguous()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision_the_gate_is_wide(model, policy, dtype):
    scored = []

    class Watched(ofr.criteria.MaxProbability):
        def score(self, logits, earlier=()):
            scored.append(logits.dtype)
            return super().score(logits, earlier)

    runtime = ofr.deploy(model, ofr.Policy(Watched(), policy.thresholds), dtype=dtype)
    x = torch.randn(12, 3, 8, 8)
    decisions = runtime(x)
    assert decisions.logits.dtype == dtype
    assert scored == [torch.float32]
    torch.testing.assert_close(decisions.logits.float(), model(x)[0].where(
        (decisions.exits == 0)[:, None], model(x)[1]), atol=0.05, rtol=0.05)  # fmt: skip
    assert model.backbone[0].weight.dtype == torch.float32


def test_half_precision_runs_segment_by_segment_too(model, policy):
    runtime = ofr.deploy(model, policy, dtype=torch.bfloat16)
    x = torch.randn(12, 3, 8, 8)
    assert runtime.staged()(x).exits.tolist() == runtime(x).exits.tolist()


def test_the_copy_does_not_follow_the_model(model, policy):
    runtime = ofr.deploy(model, policy, channels_last=True)
    x = torch.randn(4, 3, 8, 8)
    before = runtime(x).logits
    with torch.no_grad():
        model.backbone[0].weight.zero_()
    assert torch.equal(runtime(x).logits, before)


def test_other_types_are_refused(model, policy):
    with pytest.raises(InputError, match=r"torch\.int8.*torch\.bfloat16"):
        ofr.deploy(model, policy, dtype=torch.int8)
