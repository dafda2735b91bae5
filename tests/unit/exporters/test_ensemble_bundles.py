"""Exports of criteria that answer with several exits, or with groups of classes: loaded, they decide alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from offramp.criteria import Coarse, GeometricEnsemble, Voting
from offramp.exporters import export, load_bundle


@pytest.mark.parametrize(
    "criterion", [GeometricEnsemble(), Voting(), Coarse(((0, 0, 1, 1),))], ids=["geometric", "voting", "coarse"]
)
def test_a_bundle_answers_like_the_runtime_it_was_made_of(
    tiny_mlp: Any, halving: Callable[..., Any], criterion: Any, tmp_path: Path
) -> None:
    case = halving(tiny_mlp, criterion, [0.5, 2.0])
    export(case.model, case.policy, tmp_path / "bundle", "bundle")
    runtime = load_bundle(tmp_path / "bundle")
    for rows in (1, 7, 33):
        inputs = case.batch(rows, seed=rows)
        found, expected = runtime(inputs), case.decide(inputs)
        assert torch.equal(found.exits, expected.exits)
        torch.testing.assert_close(found.logits, expected.logits, atol=1e-5, rtol=1e-4)
        assert (found.levels is None) == (expected.levels is None)
        assert found.levels is None or torch.equal(found.levels, expected.levels)


def test_the_whole_export_to_onnx_takes_an_ensemble(tiny_mlp: Any, halving: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    case = halving(tiny_mlp, GeometricEnsemble())
    report = export(case.model, case.policy, tmp_path / "onnx", "onnx")
    assert all(parity.equal + parity.near == parity.rows for parity in report.parity)
    assert all(skipping.shown for skipping in report.skipping)
