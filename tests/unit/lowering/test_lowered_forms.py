from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import offramp as ofr
from offramp.errors import ExportError, MissingExtraError
from offramp.lowering import OPSET, ExportedSegment, OnnxSegment, export_segment, onnx_names, to_onnx
from offramp.segments import Plan, Segment, segments_of

SIZES = (1, 2, 33)


def segments(model: ofr.ExitModel) -> tuple[Segment, ...]:
    policy = ofr.Policy(ofr.criteria.Entropy(), [-0.5] * (model.exits - 1), [1.5] * (model.exits - 1))
    return segments_of(model, Plan.of(model, policy))


def rows(segment: Segment, count: int) -> list[Tensor]:
    """Inputs of a segment with so many rows, no two neighbours alike."""
    return [x[torch.arange(count) % len(x)] for x in segment.example]


@torch.no_grad()
def test_an_exported_segment_gives_the_same_for_every_number_of_rows(attached: ofr.ExitModel) -> None:
    for segment in segments(attached):
        program = ExportedSegment(export_segment(segment), segment.name, segment.exit, segment.example)
        for count in SIZES:
            inputs = rows(segment, count)
            for found, expected in zip(program(*inputs), segment(*inputs), strict=True):
                torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_an_onnx_segment_gives_the_same_for_every_number_of_rows(tiny_pair: Any) -> None:
    ort: Any = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    for segment in segments(tiny_pair.attach()):
        model = to_onnx(segment)
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        for count in SIZES:
            inputs = rows(segment, count)
            expected = segment(*inputs)
            names, outputs = onnx_names(len(inputs), len(expected))
            found = session.run(outputs, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
            for a, b in zip(found, expected, strict=True):
                torch.testing.assert_close(torch.from_numpy(a), b, atol=1e-5, rtol=1e-4)


def test_names_and_opset_of_a_model(tiny_resnet: Any) -> None:
    pytest.importorskip("onnxscript")
    first, *_, last = segments(tiny_resnet.attach())
    model = to_onnx(first)
    assert [x.name for x in model.graph.input] == ["in_0"]
    assert [x.name for x in model.graph.output] == ["logits", "score", "carry_0"]
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert not [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    assert [x.name for x in to_onnx(last).graph.output] == ["logits"]


def test_segments_read_from_files_are_lowered_as_they_are(tiny_mlp: Any) -> None:
    pytest.importorskip("onnxscript")
    segment = segments(tiny_mlp.attach())[1]
    exported = export_segment(segment)
    assert export_segment(ExportedSegment(exported, "3", 1, segment.example)) is exported
    model = to_onnx(segment)
    stored = OnnxSegment(model, "3", 1)
    assert to_onnx(stored) is model
    assert [(x.shape, x.dtype) for x in stored.example] == [(torch.Size([2, 9]), torch.float32)]


class Branching(nn.Module):
    """Asks for a value while it runs, which no capture allows."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if float(x.sum()) > 0 else x


def test_a_segment_that_cannot_be_captured_is_named() -> None:
    backbone = nn.Sequential(nn.Linear(3, 4), Branching(), nn.Linear(4, 2))
    model = ofr.attach(backbone, at=["0"], example=torch.ones(2, 3)).eval()
    first, last = segments(model)
    export_segment(first)
    with pytest.raises(ExportError, match=r"'output'.*Cut elsewhere"):
        export_segment(last)


class Unknown(nn.Module):
    """An operation that ONNX has not."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.zeta(x.abs() + 2, x.abs() + 1)


def test_an_operation_without_an_onnx_form_is_named() -> None:
    pytest.importorskip("onnxscript")
    model = ofr.attach(nn.Sequential(nn.Linear(3, 4), Unknown()), at=["0"], example=torch.ones(2, 3)).eval()
    with pytest.raises(ExportError, match=r"zeta.*format='pt2'"):
        to_onnx(segments(model)[-1])


def test_missing_packages_are_named_with_the_extra(tiny_mlp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"onnxscript.*offramp\[onnx\]"):
        to_onnx(segments(tiny_mlp.attach())[0])
