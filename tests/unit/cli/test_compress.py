"""`offramp compress`: the manual's configuration on a real network, and what it says when it cannot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import offramp as ofr
from offramp.cli import main

TINY = ["compress", "digits", "--arch", "resnet_small", "--epochs", "1", "--validation", "200", "--calibration", "400"]

SPARSE = {
    "compression": {"algorithm": "magnitude_sparsity", "sparsity_init": 0.5, "params": {"sparsity_target": 0.5}},
    "accuracy_aware_training": {
        "mode": "early_exit",
        "params": {"maximal_absolute_accuracy_degradation": 0.9, "maximal_total_epochs": 1},
    },
}


def configuration(folder: Path, target: float = 0.25, epochs: int = 2, **more: Any) -> Path:
    """The manual's example, but for its numbers."""
    data = {
        "input_infos": {"sample_size": [1, 1, 28, 28]},
        "accuracy_aware_training": {
            "mode": "early_exit",
            "params": {"maximal_absolute_accuracy_degradation": 0.5, "maximal_total_epochs": epochs},
        },
        "compression": [
            {
                "algorithm": "filter_pruning",
                "pruning_init": 0.25,
                "initializer": {"batchnorm_adaptation": {"num_bn_adaptation_samples": 128}},
                "params": {
                    "schedule": "exponential",
                    "pruning_target": target,
                    "pruning_steps": 1,
                    "weight_importance": "geometric_median",
                },
            }
        ],
        **more,
    }
    path = folder / "config.json"
    path.write_text(json.dumps(data))
    return path


@pytest.mark.slow
def test_a_network_of_the_zoo_is_trained_and_compressed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("torch_pruning")
    pytest.importorskip("matplotlib")
    config, out = configuration(tmp_path), tmp_path / "out"
    command = [*TINY, "--config", str(config), "--out", str(out), "--export", "pt2", "--json", str(tmp_path / "r.json")]
    assert main(command) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert result == json.loads((out / "outcome.json").read_text())
    assert result["size"]["after"]["parameters"] < result["size"]["before"]["parameters"]
    assert result["size"]["after"]["macs"] < result["size"]["before"]["macs"]
    assert result["test"]["samples"] == 359
    page = (out / "report.html").read_text()
    assert "Accuracy against rate" in page
    assert "<svg" in page
    small = torch.export.load(out / "compressed.pt2").module()
    assert small(torch.zeros(3, 1, 28, 28)).shape == (3, 10)
    assert main(command) == 1
    assert "holds a loop already" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    again = json.loads((out / "outcome.json").read_text())
    assert (again["statistics"], again["test"]) == (result["statistics"], result["test"])


@pytest.mark.slow
def test_the_network_of_a_run_is_compressed_with_its_exits(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    config = tmp_path / "sparse.json"
    config.write_text(json.dumps(SPARSE))
    assert main(["compress", "--model", str(run), "--config", str(config)]) == 0
    result = json.loads((run / "compressed" / "outcome.json").read_text())
    assert result["holds"]
    assert result["statistics"]["compression_rate"] == pytest.approx(0.5, abs=0.01)


def test_mistakes_of_the_configuration_are_all_said(tmp_path: Path, failing: Callable[..., str]) -> None:
    config = configuration(tmp_path, target=1.5, epochs=0, target_devic="CPU")
    said = failing(1, *TINY, "--config", config, "--out", tmp_path / "out")
    assert "has 3 mistakes" in said
    for path in (
        "target_devic",
        "compression[0].params.pruning_target",
        "accuracy_aware_training.params.maximal_total_epochs",
    ):
        assert path in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("tokens", "says"),
    [
        (["digits"], "exactly one of --arch"),
        (["--arch", "lenet"], "name a data set"),
        (["digits", "--arch", "lenett"], "lenet"),
        (["digits", "--arch", "lenet", "--export", "tflite"], "pt2, onnx"),
    ],
)
def test_impossible_options_are_said(tmp_path: Path, failing: Callable[..., str], tokens: list[str], says: str) -> None:
    assert says in failing(2, "compress", *tokens, "--config", configuration(tmp_path))


def test_a_configuration_without_a_loop_is_said(tmp_path: Path, failing: Callable[..., str]) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"compression": {"algorithm": "filter_pruning"}}')
    assert "asks for no loop" in failing(1, *TINY, "--config", config, "--out", tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--deployed"], ["--budget", "0.8"]])
def test_the_loop_watches_the_exits_taken(finished: Path, tmp_path: Path, options: list[str]) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    config = tmp_path / "sparse.json"
    config.write_text(json.dumps(SPARSE))
    assert main(["compress", "--model", str(run), "--config", str(config), *options]) == 0
    result = json.loads((run / "compressed" / "outcome.json").read_text())
    test, plain = result["test"], json.loads((run / "results.json").read_text())["headline"]
    assert test["watched"].startswith("accuracy with exits taken")
    policy = ofr.Policy.load(run / "compressed" / "policy.json")
    if options == ["--deployed"]:
        assert policy == ofr.Policy.load(run / "policy.json")
        assert test["mean_macs"]["before"] == pytest.approx(plain["mean_macs"])
    else:
        assert all(macs <= 0.85 * plain["plain_macs"] for macs in test["mean_macs"].values())
    assert "exits taken" in (run / "compressed" / "report.html").read_text()


@pytest.mark.parametrize(
    ("tokens", "code", "says"),
    [
        (["digits", "--arch", "lenet", "--deployed"], 2, "give a run with --model"),
        (["--deployed", "--budget", "0.5"], 2, "Give one of"),
        (["--budget", "-1"], 2, "positive share"),
        (["--deployed"], 1, "policy.json"),
    ],
)
def test_impossible_options_for_exits_are_said(
    run: Path, tmp_path: Path, failing: Callable[..., str], tokens: list[str], code: int, says: str
) -> None:
    where = [] if "--arch" in tokens else ["--model", str(run)]
    assert says in failing(code, "compress", *tokens, *where, "--config", configuration(tmp_path))
    assert not (run / "compressed").exists()
