"""Every backend gives an ensemble's answers, and lets earlier logits travel with their rows."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch

import offramp as ofr
from offramp.criteria import GeometricEnsemble
from offramp.runtimes.backends import BACKENDS

compiled = pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler on a CPU")
NAMES = [pytest.param(n, marks=[compiled] if n in ("compile", "aoti") else []) for n in BACKENDS if n != "cudagraphs"]


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_those_of_the_eager_runtime(name: str, tiny_mlp: Any) -> None:
    if name in ("onnxruntime", "openvino"):
        pytest.importorskip(name)
    model, inputs = tiny_mlp.attach(), tiny_mlp.batch(40)
    closed = ofr.Policy(GeometricEnsemble(), [float("inf")] * 2)
    with torch.no_grad():
        logits = model(inputs)
    thresholds = [float(closed.score(k, logits[k], logits[:k]).median()) + 1e-3 for k in range(2)]
    policy = ofr.Policy(GeometricEnsemble(), thresholds)
    expected = ofr.deploy(model, policy)(inputs)
    assert len(expected.exits.unique()) == 3
    runtime = ofr.deploy(model, policy, backend=name)
    for rows in (1, 6, 40):
        found = runtime(inputs[:rows])
        assert torch.equal(found.exits, expected.exits[:rows])
        torch.testing.assert_close(found.logits, expected.logits[:rows], rtol=1e-4, atol=1e-4)
