"""Bundles: loaded without the model, refused when they are not what was written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import offramp as ofr
from offramp.errors import FileFormatError, InputError, PolicyError
from offramp.exporters import export, load_bundle
from offramp.exporters.manifest import Manifest, _digest
from offramp.exporters.subject import Subject
from offramp.runtimes.tuning import Place, Tuning


@pytest.fixture
def folder(written: Callable[..., Any], tmp_path: Path) -> Path:
    """A bundle of one's own."""
    return Path(shutil.copytree(written("bundle").folder, tmp_path / "bundle"))


def test_a_bundle_decides_like_the_runtime_it_was_made_of(case: Any, folder: Path) -> None:
    runtime = load_bundle(folder)
    for rows in (1, 2, 7, 33):
        inputs = case.batch(rows, seed=rows)
        found, expected = runtime(inputs), case.decide(inputs)
        torch.testing.assert_close(found.exits, expected.exits)
        torch.testing.assert_close(found.logits, expected.logits, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found.macs, expected.macs)
    assert runtime.policy == case.policy


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("segments", ["pt2", "onnx"])
def test_a_bundle_under_other_backends(case: Any, written: Callable[..., Any], backend: str, segments: str) -> None:
    for package in ("onnxscript", "onnxruntime", backend):
        pytest.importorskip(package)
    runtime = load_bundle(written("bundle", segments).folder, backend)
    inputs = case.batch(20, seed=2)
    found, expected = runtime(inputs), case.decide(inputs)
    assert found.exits.tolist() == expected.exits.tolist()
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-4, rtol=1e-4)


def test_segments_in_onnx_form_need_a_backend_that_reads_them(written: Callable[..., Any]) -> None:
    pytest.importorskip("onnxruntime")
    folder = written("bundle", "onnx").folder
    assert load_bundle(folder).staged().backend == "onnxruntime"
    with pytest.raises(FileFormatError, match="onnxruntime, openvino, or export with segments='pt2'"):
        load_bundle(folder, "export")


def test_inputs_are_checked_as_ever(folder: Path) -> None:
    runtime = load_bundle(folder)
    with pytest.raises(InputError, match="rows of shape"):
        runtime(torch.zeros(2, 2, 9, 9))
    with pytest.raises(InputError, match="empty"):
        runtime(torch.zeros(0, 2, 6, 6))


def test_named_inputs_stay_named(tiny_pair: Any, tmp_path: Path) -> None:
    named = dict(zip(["image", "vector"], tiny_pair.batch(5), strict=True))
    model = ofr.attach(tiny_pair.make(), at=["mix"], example=named).eval()
    export(model, ofr.always(0), tmp_path / "x")
    runtime = load_bundle(tmp_path / "x")
    backwards = {name: named[name] for name in ("vector", "image")}
    torch.testing.assert_close(runtime(backwards).logits, ofr.deploy(model, ofr.always(0))(named).logits)
    with pytest.raises(InputError):
        runtime(tuple(named.values()))


@pytest.mark.parametrize("name", ["segment_1.pt2", "example.safetensors"])
def test_a_changed_file_is_refused(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(FileFormatError, match=f"{name} is not the file that was exported"):
        load_bundle(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "segment_2.pt2").unlink()
    with pytest.raises(FileFormatError, match=r"lacks the file segment_2\.pt2"):
        load_bundle(folder)


def changed(folder: Path, seal: bool, **values: Any) -> None:
    """Changes the manifest, with a checksum that fits, or not."""
    path = folder / "manifest.json"
    data = json.loads(path.read_text()) | values
    if seal:
        data.pop("sha256")
        data["sha256"] = _digest(data)
    path.write_text(json.dumps(data))


def test_a_changed_manifest_is_refused(folder: Path) -> None:
    plan = json.loads((folder / "manifest.json").read_text())["plan"]
    changed(folder, seal=False, plan=plan | {"thresholds": [0.0, 0.0, 0.0]})
    with pytest.raises(FileFormatError, match="was changed since it was written"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"version": 2}, "version 2, this offramp reads version 1. Install a newer"),
        ({"format": "other"}, "is no manifest"),
        ({"plan": {}}, "is damaged"),
        ({"example": None}, "export in the format 'bundle'"),
        ({"example": {"constants": []}}, "damaged example"),
    ],
)
def test_manifests_that_do_not_fit(folder: Path, values: dict[str, Any], message: str) -> None:
    changed(folder, seal=True, **values)
    with pytest.raises(FileFormatError, match=message):
        load_bundle(folder)


def test_what_is_no_bundle(written: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="There is no manifest of an export at"):
        load_bundle(tmp_path / "none")
    with pytest.raises(FileFormatError, match="Export with format='bundle'"):
        load_bundle(written("pt2").folder)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(FileFormatError, match="damaged or no manifest"):
        load_bundle(tmp_path)


def test_backends_and_devices_that_do_not_exist(folder: Path) -> None:
    with pytest.raises(PolicyError, match="no such backend"):
        load_bundle(folder, "tensorrt")
    with pytest.raises(InputError, match="the device"):
        load_bundle(folder, device="cuda:99")


def test_a_manifest_survives_a_round_trip(case: Any, folder: Path) -> None:
    manifest = Manifest.load(folder)
    data = json.loads((folder / "manifest.json").read_text())
    assert manifest.to_dict() == data
    assert data["class_names"] == ["cat", "dog", "owl", "elk"]
    assert data["names"] == ["stem", "layer1", "layer2", "output"]
    assert data["inputs"] == [{"name": "input", "shape": ["rows", 2, 6, 6], "dtype": "float32"}]
    assert manifest.plan.thresholds == case.policy.thresholds


def test_tuning_travels_with_the_bundle(case: Any, tmp_path: Path) -> None:
    segments = Subject.of(case.model, case.policy, None).segments
    names = tuple(segment.name for segment in segments)
    here = Place.here(torch.device("cpu"), names, torch.float32, False)
    tuning = Tuning(here, (1, 8), {"eager": ((1e-3, 2e-3),) * 4, "aoti": ((2e-3, 4e-3),) * 4}, {})
    export(case.model, case.policy, tmp_path / "x", tuning=tuning)
    runtime = load_bundle(tmp_path / "x", "auto").staged()
    assert runtime.tuning == tuning
    assert runtime.tuning.chosen == ("eager",)
    inputs = case.batch(9, seed=1)
    assert runtime(inputs).exits.tolist() == case.decide(inputs).exits.tolist()


def test_an_input_that_no_json_holds(tmp_path: Path) -> None:
    class Odd(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)

        def forward(self, x: torch.Tensor, how: object) -> torch.Tensor:
            return self.last(self.first(x))

    model = ofr.attach(Odd(), at=["first"], example=(torch.zeros(2, 3), 1j)).eval()
    with pytest.raises(ofr.errors.ExportError, match="keep to tensors"):
        export(model, ofr.always(0), tmp_path / "x")
