from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from offramp.cli import failures, main

Failing = Callable[..., str]


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["bogus"], "bogus"),
        (["train", "--nope"], "--nope"),
        (["train", "--seed", "x"], "--seed"),
        (["train", "--seed", "-1"], "at least 0"),
        (["train", "--epochs", "0"], "at least 1"),
        (["train", "--arch", "resnet_smal"], "Allowed: "),
        (["train", "--data", "cifar"], "Allowed: fashion-mnist, digits"),
        (["train", "--head", "hydra"], "pooled_linear"),
        (["train", "--optimizer", "magic"], "sgd, adamw"),
        (["train", "--schedule", "magic"], "cosine"),
        (["train", "--regime-weights", "heavy"], "give mean, depth"),
        (["train", "--device", "gpu"], "give auto, cpu, cuda"),
        (["demo", "--data", "mnist"], "Allowed: fashion-mnist, digits"),
        (["inspect", "resnet"], "Closest: "),
        (["inspect", "no.such.module:Net", "--input", "3"], "cannot be imported"),
        (["inspect", "torch.nn:Nothing", "--input", "3"], "'Nothing'"),
        (["inspect", "torch.nn:Linear"], "--input"),
        (["inspect", "lenet", "--input", "1,x"], "whole numbers"),
        (["inspect", "lenet", "--input", "1,0,28"], "at least 1"),
        (["calibrate", "runs/none", "--budget", "0.3", "--drop", "0.01"], "--budget"),
        (["calibrate", "runs/none", "--empirical", "--delta", "0.1"], "--empirical"),
        (["calibrate", "runs/none", "--drop", "3"], "0.03"),
        (["calibrate", "runs/none", "--test", "coin"], "'coin'"),
        (["calibrate", "runs/none", "--criterion", "mood"], "max_probability"),
        (["evaluate"], "RUN"),
        (["report", "runs/none", "--json", "--seed"], "--json"),
    ],
)
def test_what_does_not_exist_is_a_usage_error(failing: Failing, tokens: list[str], message: str) -> None:
    assert message in failing(failures.USAGE, *tokens)


@pytest.mark.parametrize("command", ["calibrate", "evaluate", "report"])
def test_a_folder_that_is_no_run(failing: Failing, tmp_path: Path, command: str) -> None:
    message = failing(failures.FAILURE, command, tmp_path / "none")
    assert message.startswith("Error: There is no")
    assert "offramp" in message


def test_an_accelerator_that_is_not_there(failing: Failing) -> None:
    if torch.accelerator.is_available():
        pytest.skip("there is one")
    assert "no such device" in failing(failures.FAILURE, "train", "--device", "cuda")


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["report", str(tmp_path / "none"), "--debug"]) == failures.FAILURE
    assert "Traceback" in capsys.readouterr().err


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("offramp.cli.steps.inspection.resolve", broken)
    with pytest.raises(ZeroDivisionError):
        main(["inspect", "lenet"])


def test_brackets_in_messages_are_not_taken_for_markup(failing: Failing) -> None:
    assert "[red]net[/red]" in failing(failures.USAGE, "inspect", "[red]net[/red]")


def test_a_json_file_that_cannot_be_written_is_found_out_first(failing: Failing, tmp_path: Path) -> None:
    message = failing(failures.FAILURE, "inspect", "lenet", "--json", tmp_path / "none" / "out.json")
    assert "cannot be written" in message


@pytest.mark.parametrize(
    ("tokens", "command"),
    [
        (["train", "--out", "my runs"], "offramp train --out 'my runs' --resume"),
        (["train", "--resume"], "offramp train --resume"),
        (["demo", "--seed", "1"], "offramp demo --seed 1"),
    ],
)
def test_an_interrupted_command_says_how_to_go_on(
    failing: Failing, monkeypatch: pytest.MonkeyPatch, tokens: list[str], command: str
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("offramp.cli.session.Session.__init__", interrupted)
    assert failing(failures.INTERRUPTED, *tokens).endswith(command)


def test_json_goes_to_standard_output_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "lenet", "--json", "-"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["input"] == [1, 28, 28]
    assert found["default_cuts"]
    assert "Places to cut" in captured.err
