from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from offramp.benchmark import Results, Suite, bench
from offramp.benchmark.results import RunKey, RunResult
from offramp.benchmark.scoring import BUDGETS

PROBLEM = {
    "data": "digit-pairs",
    "train": 64,
    "calibration": 60,
    "test": 80,
    "network": "resnet",
    "network_options": {"blocks": [1, 1], "widths": [4, 8], "strides": [2, 2]},
    "at": ["layer1"],
    "epochs": 2,
    "batch_size": 16,
    "fit": {"lr": 0.05},
}


def plain(problem: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "name": "tiny",
        "seeds": [0, 1],
        "problems": {"pairs": {**PROBLEM, **(problem or {})}},
        "regimes": {name: {"regime": name, "match": ["compute"]} for name in ("joint", "disjoint")},
        **changes,
    }


@pytest.fixture
def plain_suite() -> Callable[..., dict[str, Any]]:
    """A suite of seconds as it would stand in TOML, with changes to its problem and to itself."""
    return plain


@pytest.fixture(scope="session")
def finished_bench(tmp_path_factory: pytest.TempPathFactory) -> tuple[Suite, Results]:
    """A suite that was run. Shared: copy the folder before changing anything."""
    pytest.importorskip("sklearn")
    suite = Suite.from_dict(plain())
    results = Results(tmp_path_factory.mktemp("bench"))
    assert bench(suite, results, torch.device("cpu"), made={"commit": "abc"}) == 4
    return suite, results


@pytest.fixture
def own_results(finished_bench: tuple[Suite, Results], tmp_path: Path) -> Results:
    """The finished runs, in a folder of one's own."""
    return Results(shutil.copytree(finished_bench[1].folder, tmp_path / "bench"))


@pytest.fixture
def fake_run() -> Callable[..., RunResult]:
    """A run whose accuracy is the same within every budget, without any training."""

    def make(
        problem: str, regime: str, seed: int, accuracy: float, data: str = "digit-pairs", match: str = "compute"
    ) -> RunResult:
        figures = {
            "budgets": list(BUDGETS),
            "frontier": {"max_probability": {"test_accuracy": [accuracy] * (len(BUDGETS) + 1)}},
            "area": {"max_probability": accuracy},
            "exit_accuracy": {"test": [accuracy / 2, accuracy]},
            "training": {"macs": 99.0, "budget": 100.0, "phases": {regime: 1}},
            "seconds": {"training": 2.0, "total": 3.0},
            "macs": [0.4, 1.1],
            "backbone_macs": 1e6,
            "test_samples": 80,
            "pace": {"phases": {regime: 0.5}, "joint": 0.01, "rounds": 9},
        }
        return RunResult(RunKey(problem, regime, seed, match), {"problem": {**PROBLEM, "data": data}}, figures)

    return make
