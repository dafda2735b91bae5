"""ONNX Runtime gets the whole network as one graph; what it decides, and what is left when that cannot be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import offramp as ofr
from offramp.errors import ExportError, StageError
from offramp.exporters import load_bundle
from offramp.runtimes import StagedRuntime, one_graph
from offramp.runtimes.backends.check import check_graph
from offramp.runtimes.one_graph import OneGraphRuntime
from offramp.segments import Plan, segments_of

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package)


def rows(count: int, seed: int = 1) -> Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model() -> ofr.ExitModel:
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
    )
    return ofr.attach(backbone, at=["1", "3"], example=torch.zeros(1, 6))


@pytest.fixture(scope="module")
def policy(model: ofr.ExitModel) -> ofr.Policy:
    """Half of the rows leave at each early exit, more or less."""
    criterion = ofr.criteria.MaxProbability()
    with torch.no_grad():
        scores = [criterion.score(logits) for logits in model.eval()(rows(101, seed=2))[:-1]]
    return ofr.Policy(criterion, [float(s.median()) + 1e-4 for s in scores])


@pytest.fixture(scope="module")
def runtime(model: ofr.ExitModel, policy: ofr.Policy) -> OneGraphRuntime:
    found = ofr.deploy(model, policy, backend="onnxruntime")
    assert isinstance(found, OneGraphRuntime)
    return found


@pytest.mark.parametrize("count", [1, 2, 7, 64, 300])
def test_it_decides_as_the_model_does(
    model: ofr.ExitModel, policy: ofr.Policy, runtime: OneGraphRuntime, count: int
) -> None:
    expected, found = ofr.deploy(model, policy)(rows(count)), runtime(rows(count))
    assert torch.equal(found.exits, expected.exits)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-5)
    assert found.macs is not None
    assert torch.equal(found.macs, expected.macs)


def test_rows_leave_at_every_exit(runtime: OneGraphRuntime) -> None:
    assert runtime(rows(300)).exits.unique().tolist() == [0, 1, 2]


def test_streams_run_stage_by_stage(runtime: OneGraphRuntime) -> None:
    assert isinstance(runtime.staged(), StagedRuntime)
    streamed = list(runtime.stream(rows(60).split(9), target=8))
    assert torch.equal(torch.cat([d.exits for d in streamed]), runtime(rows(60)).exits)


def test_one_runtime_serves_several_threads(runtime: OneGraphRuntime) -> None:
    batches = [rows(40, seed) for seed in range(16)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(runtime, batches))
    for found, batch in zip(together, batches, strict=True):
        alone = runtime(batch)
        assert torch.equal(found.exits, alone.exits)
        assert torch.equal(found.logits, alone.logits)


def test_a_bundle_is_one_graph_too(
    model: ofr.ExitModel, policy: ofr.Policy, runtime: OneGraphRuntime, tmp_path: Path
) -> None:
    ofr.export(model, policy, tmp_path / "bundle", format="bundle")
    loaded = load_bundle(tmp_path / "bundle", backend="onnxruntime")
    assert isinstance(loaded, OneGraphRuntime)
    assert torch.equal(loaded(rows(50)).exits, runtime(rows(50)).exits)


def test_what_fits_into_no_file_runs_stage_by_stage(
    model: ofr.ExitModel, policy: ofr.Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_graph, "LARGEST", 100)
    assert isinstance(ofr.deploy(model, policy, backend="onnxruntime"), StagedRuntime)


@pytest.mark.parametrize(("node", "name"), [("s0/linear", "1"), ("s1@index", "3"), ("nowhere", "output")])
def test_a_failure_names_the_stage_and_leaves_the_runtime_usable(
    runtime: OneGraphRuntime, node: str, name: str
) -> None:
    def broken(*tensors: Tensor) -> list[Tensor]:
        raise RuntimeError(f"Non-zero status code returned while running node {node}")

    failing = OneGraphRuntime(broken, runtime.staged())
    with pytest.raises(StageError, match=rf"ends at '{name}' failed on 5 rows .*{node}"):
        failing(rows(5))
    assert len(runtime(rows(5))) == 5


def test_a_graph_that_decides_otherwise_is_refused(
    model: ofr.ExitModel, policy: ofr.Policy, runtime: OneGraphRuntime
) -> None:
    segments = segments_of(model.eval(), Plan.of(model, policy))

    def decided(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        found = runtime.staged().decided(tensors)
        return found.logits, found.exits

    def shifted(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        logits, exits = decided(*tensors)
        return logits + 0.01, exits

    def later(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        logits, exits = decided(*tensors)
        return logits, exits + 1

    check_graph(segments, runtime.graph, decided, "onnxruntime")
    for wrong in (shifted, later):
        with pytest.raises(ExportError, match="decides otherwise in one graph than stage by stage, at 16 rows"):
            check_graph(segments, wrong, decided, "onnxruntime")
