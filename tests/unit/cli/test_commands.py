"""A run from end to end, and what happens when its folder is not as it should be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import offramp as ofr
from offramp.cli import failures, main
from offramp.reporters import Results

Failing = Callable[..., str]

# What the fixture `trained` was made with.
TINY_RUN = ["train", "--arch", "lenet", "--data", "digits", "--epochs", "1", "--lr", "0.05"]
TINY_SIZES = ["--validation", "200", "--calibration", "400"]


def read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def test_train_leaves_all_that_calibration_needs(trained: Path) -> None:
    request = read(trained / "run.json")["request"]
    assert (request["arch"], request["data"], request["epochs"]) == ("lenet", "digits", 1)
    for split, samples in (("validation", 200), ("calibration", 400)):
        recording = ofr.Recording.load(trained / "recordings" / f"{split}.safetensors")
        assert recording.samples == samples
        assert recording.meta["split"] == split
        assert recording.meta["seed"] == 0
    assert ofr.History.load(trained / "training" / "history.json").rows[0].val is not None


def test_run_json_tells_code_data_and_surroundings(trained: Path) -> None:
    facts = read(trained / "run.json")
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["data"]["splits"]["sizes"]["calibration"] == 400
    assert facts["cuts"] == ["pool1", "pool2"]
    assert facts["created"].endswith("+00:00")


def test_a_finished_run_has_results_and_a_report(finished: Path) -> None:
    results = Results.load(finished / "results.json")
    assert results.headline.source.split == "test"
    assert results.headline.source.samples == 359
    assert results.headline.macs_share <= 1.0
    assert [speed.calls for speed in results.speed] == [
        "batch 1",
        "batch 256",
        "batch 256, stream",
        "batch 1, ONNX Runtime",
        "batch 256, ONNX Runtime",
    ]
    assert results.agreement is not None
    assert results.agreement.same_exit >= 358
    assert results.gallery is not None
    assert results.learning is not None
    assert results.provenance.looks == 1
    assert results.provenance.splits == {"train": 838, "validation": 200, "calibration": 400, "test": 359}
    assert (finished / "report.html").read_text(encoding="utf8").startswith("<!DOCTYPE html>")


def test_calibration_keeps_policy_and_evidence_together(finished: Path) -> None:
    calibration = read(finished / "calibration.json")
    assert calibration["feasible"] is True
    assert calibration["policy"] == ofr.Policy.load(finished / "policy.json").to_dict()
    assert calibration["evidence"]["macs_share"] <= 0.9
    assert calibration["evidence"]["temperatures_from"] == "fitted on 200 tuning samples"


def test_the_test_split_is_touched_once(failing: Failing, finished: Path) -> None:
    before = (finished / "results.json").read_bytes()
    assert "--again" in failing(failures.FAILURE, "evaluate", finished)
    assert (finished / "results.json").read_bytes() == before


def test_looking_again_is_counted(run: Path) -> None:
    ofr.always(exit=1).save(run / "policy.json")
    assert main(["evaluate", str(run)]) == 0
    assert main(["evaluate", str(run), "--again"]) == 0
    results = Results.load(run / "results.json")
    assert results.provenance.looks == 2
    assert results.certificate is None
    assert results.exits.rows[1].share == 1.0


def test_a_certificate_is_never_shown_for_another_policy(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", str(run), "--budget", "0.9"]) == 0
    ofr.Policy(ofr.criteria.Margin(), [0.5, 0.5]).save(run / "policy.json")
    assert main(["evaluate", str(run)]) == 0
    assert "nothing is certified" in " ".join(capsys.readouterr().out.split())
    assert Results.load(run / "results.json").certificate is None


def test_an_infeasible_goal_writes_nothing(failing: Failing, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "outcome.json"
    message = failing(failures.FAILURE, "calibrate", run, "--drop", "0.0005", "--json", out)
    assert "Infeasible" in message
    assert "400 calibration samples are too few" in message
    assert read(out)["feasible"] is False
    assert not (run / "policy.json").exists()
    assert not (run / "calibration.json").exists()


def test_report_prints_the_json_alone(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(finished), "--json", "-"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["headline"]["source"]["split"] == "test"
    assert "gallery" not in found
    assert "report.html" in captured.err


def test_a_second_run_needs_another_folder(failing: Failing, trained: Path) -> None:
    before = (trained / "run.json").read_bytes()
    message = failing(failures.FAILURE, *TINY_RUN, *TINY_SIZES, "--batch-size", 32, "--out", trained)
    assert "holds a run already" in message
    assert "seed is 0 there and 5 now" in failing(
        failures.FAILURE, *TINY_RUN, *TINY_SIZES, "--batch-size", 32, "--seed", 5, "--out", trained, "--resume"
    )
    assert (trained / "run.json").read_bytes() == before


def test_an_interrupted_training_goes_on_where_it_was(
    failing: Failing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    from offramp.data.loaders import BatchedImages

    command = ["train", "--arch", "lenet", "--data", "digits", "--epochs", "2", *TINY_SIZES]
    original, calls = BatchedImages.__getitems__, []

    def interrupting(self: BatchedImages, indices: list[int]) -> Any:
        calls.append(indices)
        if len(calls) == 10:  # an epoch is 7 batches to train and 1 to validate
            raise KeyboardInterrupt
        return original(self, indices)

    with monkeypatch.context() as patched:
        patched.setattr(BatchedImages, "__getitems__", interrupting)
        assert "--resume" in failing(failures.INTERRUPTED, *command, "--out", tmp_path / "cut")
    assert main([*command, "--out", str(tmp_path / "cut"), "--resume"]) == 0
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    cut, whole = (ofr.History.load(tmp_path / name / "training/history.json") for name in ("cut", "whole"))
    assert cut == whole
    recordings = (
        ofr.Recording.load(tmp_path / name / "recordings/calibration.safetensors") for name in ("cut", "whole")
    )
    assert torch.equal(*(recording.logits for recording in recordings))


def test_a_folder_that_cannot_be_made(failing: Failing, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    message = failing(failures.FAILURE, *TINY_RUN, "--out", tmp_path / "file" / "run")
    assert "cannot be written" in message
    assert "--out" in message


def test_cuts_that_do_not_exist_leave_no_run_behind(failing: Failing, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    message = failing(failures.FAILURE, *TINY_RUN, "--at", "layer9", "--out", tmp_path / "run")
    assert "layer9" in message
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize(
    ("damaged", "command", "message"),
    [
        ("run.json", "calibrate", "run.json is damaged"),
        ("recordings/calibration.safetensors", "calibrate", "is damaged"),
        ("policy.json", "evaluate", "policy.json"),
        ("model/exit_model.safetensors", "evaluate", "damaged or truncated"),
        ("calibration.json", "evaluate", "calibration.json is damaged"),
        ("results.json", "report", "is damaged or no results file"),
        ("results.json", "evaluate", "is damaged or no results file"),
    ],
)
def test_damaged_files_are_named(failing: Failing, run: Path, damaged: str, command: str, message: str) -> None:
    ofr.always(exit=0).save(run / "policy.json")
    path = run / damaged
    content = path.read_bytes() if path.exists() else b'{"format": "offramp.results"}'
    path.write_bytes(content[: len(content) // 2])
    assert message in failing(failures.FAILURE, command, run)


def test_a_damaged_request_is_named(failing: Failing, run: Path) -> None:
    facts = read(run / "run.json")
    del facts["request"]["head"]
    (run / "run.json").write_text(json.dumps(facts))
    assert "missing or unknown fields: head" in failing(failures.FAILURE, "calibrate", run)


def test_other_samples_than_the_run_was_made_with(failing: Failing, run: Path) -> None:
    ofr.always(exit=0).save(run / "policy.json")
    facts = read(run / "run.json")
    facts["data"]["splits"]["sha256"] = "0" * 64
    (run / "run.json").write_text(json.dumps(facts))
    assert "is not divided as" in failing(failures.FAILURE, "evaluate", run)
