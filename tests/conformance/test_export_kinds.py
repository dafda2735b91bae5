"""Kinds of models that were awkward to export; benchmarks/export_matrix.py does the same for all of them."""

from __future__ import annotations

import pytest

from export_matrix import ROWS, exported
from model_kinds import KINDS, Kind

CHOSEN = ("MobileNetV3", "GPT-2 (Hugging Face)", "a model that uses its batch size")


def kind(name: str) -> Kind:
    return next(kind for kind in KINDS if kind.name == name)


@pytest.mark.parametrize("name", CHOSEN)
def test_it_exports_to_onnx_with_equal_decisions_and_skips(name: str) -> None:
    for package in ("onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    line = exported(kind(name))
    assert line["onnx"], line["error"]
    assert line["equal"] + line["near"] == line["rows"]
    assert line["near"] <= 0.05 * line["rows"]
    assert line["skips"]
    assert line["executed"][0] == [0]
    assert line["openvino"] == ROWS


def test_a_model_cut_by_hooks_has_nothing_to_export() -> None:
    line = exported(kind("control flow that depends on data"))
    assert not line["onnx"]
    assert "no stages to compile, export or queue" in line["error"]
