"""The verb: every format is written, read back, compared and seen to skip."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import offramp as ofr
from offramp.errors import ExportError, InputError, MissingExtraError, PolicyError
from offramp.exporters import export, load_bundle


@pytest.mark.parametrize("format", ["bundle", "pt2", "onnx"])
def test_the_report_says_how_the_export_agreed_and_skipped(written: Callable[..., Any], format: str) -> None:
    if format == "onnx":
        pytest.importorskip("onnxruntime")
    report = written(format).report
    artefacts = {"graph", "segments"} if format == "onnx" else {"segments"}
    assert {entry.artefact for entry in report.parity} == artefacts == {entry.artefact for entry in report.skipping}
    assert {entry.inputs for entry in report.parity} == {
        "random inputs",
        "inputs at thresholds",
        "thresholds between scores",
        "thresholds on scores",
    }
    for entry in report.parity:
        assert entry.equal + entry.near == entry.rows
        assert entry.largest_difference < 1e-4
        assert entry.near == 0 or "between" not in entry.inputs
    for skipping in report.skipping:
        assert skipping.shown
        assert skipping.first.executed == tuple(range(skipping.first.exit + 1))
        assert skipping.last.executed == (0, 1, 2, 3)
        assert skipping.ratio > 0


@pytest.mark.parametrize("format", ["bundle", "pt2", "onnx"])
def test_the_files_and_the_report_beside_them(written: Callable[..., Any], format: str) -> None:
    if format == "onnx":
        pytest.importorskip("onnxruntime")
    folder, report = written(format).folder, written(format).report
    form = "onnx" if format == "onnx" else "pt2"
    more = {"bundle": {"example.safetensors"}, "pt2": set(), "onnx": {"model.onnx"}}[format]
    expected = {f"segment_{k}.{form}" for k in range(4)} | more
    assert {entry.name for entry in report.files} == expected
    assert {path.name for path in folder.iterdir()} == expected | {"manifest.json", "report.json"}
    assert report.bytes == sum((folder / name).stat().st_size for name in expected)
    said = json.loads((folder / "report.json").read_text())
    assert said == json.loads(json.dumps(report.to_dict()))
    assert said["skipping"][0]["shown"]


def test_pt2_files_run_with_plain_torch(case: Any, written: Callable[..., Any]) -> None:
    folder = written("pt2").folder
    manifest = json.loads((folder / "manifest.json").read_text())
    thresholds = [float(t) for t in manifest["plan"]["thresholds"]]
    x = case.batch(1, seed=11)
    expected = case.decide(x)
    tensors = [x]
    for file, threshold in zip(manifest["segments"], [*thresholds, 0], strict=True):
        with torch.no_grad():
            logits, *rest = torch.export.load(folder / file).module()(*tensors)
        if not rest or float(rest[0]) > threshold:
            break
        tensors = rest[1:]
    assert manifest["plan"]["stops"][manifest["segments"].index(file)] == int(expected.exits)
    torch.testing.assert_close(logits, expected.logits)


def test_given_inputs_are_compared_too(case: Any, tmp_path: Path) -> None:
    report = export(case.model, case.policy, tmp_path / "x", inputs=case.batch(12, seed=2))
    entry = next(entry for entry in report.parity if entry.inputs == "given inputs")
    assert (entry.rows, entry.equal) == (12, 12)


def test_rows_that_all_leave_at_one_exit_are_moved_by_thresholds(case: Any, tmp_path: Path) -> None:
    report = export(case.model, ofr.always(1), tmp_path / "always")
    (skipping,) = report.skipping
    assert (skipping.how, skipping.first.executed, skipping.last.executed) == ("thresholds", (1,), (1, 3))


def test_a_policy_that_never_leaves_early_shows_nothing(case: Any, tmp_path: Path) -> None:
    report = export(case.model, ofr.always(3), tmp_path / "never")
    (skipping,) = report.skipping
    assert not skipping.shown
    assert "no row leave early" in skipping.reason
    assert report.to_dict()["skipping"][0]["ratio"] is None


def test_token_inputs_are_compared_without_bisection(
    tiny_tokens: Any, halving: Callable[..., Any], tmp_path: Path
) -> None:
    case = halving(tiny_tokens)
    report = export(case.model, case.policy, tmp_path / "x", inputs=case.batch(20, seed=1))
    assert "inputs at thresholds" not in {entry.inputs for entry in report.parity}
    inputs = case.batch(7, seed=5)
    assert load_bundle(tmp_path / "x")(inputs).exits.tolist() == case.decide(inputs).exits.tolist()


def spoiled(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any]) -> None:
    """Lets a wrong conversion happen: segments are changed before they are written."""
    from offramp.exporters import programs

    monkeypatch.setattr(programs, "export_segment", lambda segment: change(segment))


def test_wrong_logits_refuse_the_export(case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from offramp.lowering import export_segment

    class Wrong(torch.nn.Module):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner, self.name, self.example = inner, inner.name, inner.example

        def forward(self, *tensors: Any) -> Any:
            logits, *rest = self.inner(*tensors)
            return (logits + 0.1, *rest)

    spoiled(monkeypatch, lambda segment: export_segment(Wrong(segment)))  # type: ignore[arg-type]
    with pytest.raises(ExportError, match=r"refused: on random inputs, the logits of the segments differ .* 0\.1"):
        export(case.model, case.policy, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_other_exits_refuse_the_export(case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from offramp.lowering import export_segment

    class Surer(torch.nn.Module):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner, self.name, self.example = inner, inner.name, inner.example

        def forward(self, *tensors: Any) -> Any:
            logits, *rest = self.inner(*tensors)
            return (logits, rest[0] + 0.2, *rest[1:]) if rest else (logits,)

    spoiled(monkeypatch, lambda segment: export_segment(Surer(segment)))  # type: ignore[arg-type]
    with pytest.raises(ExportError, match=r"refused: on random inputs, .* rows leave the segments elsewhere"):
        export(case.model, case.policy, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_segments_that_run_for_nobody_refuse_the_export(
    case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from offramp.exporters import artefact
    from offramp.exporters.formats import bundle

    def eager(runtime: Any) -> Any:
        return replace(artefact.staged_artefact(runtime), executed=lambda plan, inputs: (0, 1, 2, 3))

    monkeypatch.setattr(bundle, "staged_artefact", eager)
    with pytest.raises(ExportError, match="all rows leave the segments at exit 0, and yet the segment of exit 3 runs"):
        export(case.model, case.policy, tmp_path / "x")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"format": "onxx"}, ExportError, "Closest: 'onnx'"),
        ({"segments": "so"}, ExportError, "Allowed: 'pt2', 'onnx'"),
        ({"format": "pt2", "segments": "onnx"}, ExportError, "Leave segments out"),
        ({"class_names": ["a", "b"]}, ExportError, "2 names, the model 4 classes"),
        ({"inputs": torch.zeros(2, 3)}, InputError, "rows of shape"),
        ({"policy": ofr.Policy(ofr.criteria.Margin(), [0.5])}, PolicyError, "3 early exits"),
    ],
)
def test_impossible_orders(case: Any, tmp_path: Path, options: dict[str, Any], error: Any, message: str) -> None:
    policy = options.pop("policy", case.policy)
    with pytest.raises(error, match=message):
        export(case.model, policy, tmp_path / "x", **options)
    assert list(tmp_path.iterdir()) == []


def test_onnx_files_are_made_on_the_cpu_in_a_precision_it_has(tiny_mlp: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = tiny_mlp.attach().bfloat16()
    with pytest.raises(ExportError, match=r"bfloat16.*\.float\(\)"):
        export(model, ofr.always(0), tmp_path / "x", "onnx")


def test_missing_packages(case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"offramp\[onnx\]"):
        export(case.model, case.policy, tmp_path / "x", "onnx")


def test_folders_that_are_in_use(case: Any, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "x"
    export(case.model, case.policy, folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    before = (folder / "manifest.json").read_text()
    with pytest.raises(ExportError, match="holds an export already"):
        export(case.model, ofr.always(0), folder)
    assert (folder / "manifest.json").read_text() == before
    export(case.model, ofr.always(0), folder, "pt2", overwrite=True)
    assert json.loads((folder / "manifest.json").read_text())["kind"] == "pt2"
    assert [path.name for path in folder.parent.iterdir()] == ["x"]


def test_folders_that_cannot_be_written(case: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="is a file"):
        export(case.model, case.policy, tmp_path / "file")
    with pytest.raises(ExportError, match="cannot be written to"):
        export(case.model, case.policy, tmp_path / "file" / "below")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(ExportError, match="other files"):
        export(case.model, case.policy, tmp_path / "mine", overwrite=True)
