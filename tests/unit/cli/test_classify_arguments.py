from __future__ import annotations

from pathlib import Path

import pytest

from offramp.cli.classify_arguments import spread
from offramp.cli.classify_refusals import FAMILIES, REFUSED
from offramp.cli.failures import UsageError

CIFAR = (
    "classify --arch=resnet32_cifar_earlyexit --epochs=20 -b 128 --lr=0.003 --earlyexit_thresholds 0.4 "
    "--earlyexit_lossweights 0.4 -j 30 --out-dir OUT -n earlyexit DATA"
)


def test_the_manuals_command_keeps_every_word() -> None:
    spread_out = spread(CIFAR.split())
    assert spread_out[-1] == "DATA"
    assert [t for t in spread_out if t.startswith("--earlyexit")] == [
        "--earlyexit_thresholds=0.4",
        "--earlyexit_lossweights=0.4",
    ]


@pytest.mark.parametrize("flag", ["--earlyexit_thresholds", "--earlyexit_lossweights", "--earlyexit-thresholds"])
@pytest.mark.parametrize("separator", [" ", "="])
def test_data_right_behind_the_values_is_no_value(flag: str, separator: str) -> None:
    tokens = f"classify {flag}{separator}1.2 0.9 photos".split()
    assert spread(tokens) == ["classify", f"{flag}=1.2", f"{flag}=0.9", "photos"]


def test_negative_numbers_are_values_and_so_can_be_refused_by_name() -> None:
    assert spread(["classify", "--earlyexit_lossweights", "0.2", "-0.1", "-j", "2"]) == [
        "classify",
        "--earlyexit_lossweights=0.2",
        "--earlyexit_lossweights=-0.1",
        "-j",
        "2",
    ]


def test_a_flag_without_values_stays_for_the_parser_to_refuse() -> None:
    assert spread(["classify", "--earlyexit_thresholds", "-j", "2"]) == [
        "classify",
        "--earlyexit_thresholds",
        "-j",
        "2",
    ]


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ("--epochs=180 --epochs 2 DATA", "--epochs 2 DATA"),
        ("-b 64 DATA --batch-size=128", "DATA --batch-size=128"),
        ("--lr 0.1 --learning-rate 0.2", "--learning-rate 0.2"),
        ("--earlyexit_thresholds 0.4 0.9 -e --earlyexit_thresholds 0.5", "-e --earlyexit_thresholds=0.5"),
        ("--det --deterministic -e -e", "--deterministic -e"),
        ("--summary compute --summary png", "--summary compute --summary png"),
        ("--epochs -- --epochs", "--epochs -- --epochs"),
    ],
)
def test_of_a_flag_that_is_given_again_the_last_one_counts(given: str, left: str) -> None:
    assert spread(["classify", *given.split()]) == ["classify", *left.split()]


@pytest.mark.parametrize("flag", [*REFUSED, "--qe-bits-acts", "--greedy-finetuning-policy", "--amc-protocol"])
def test_a_flag_of_distillers_that_is_none_here_says_what_to_do(flag: str) -> None:
    with pytest.raises(UsageError, match=f"^{flag} .*(leave it out|write|--compress)"):
        spread(["classify", "-a", "lenet", f"{flag}=1", "DATA"])


def test_no_flag_is_both_taken_and_refused() -> None:
    taken = ["--evaluate", "--resume-from", "--exp-load-weights-from", "--valid-size", "--sense", "--gpus"]
    assert spread(["classify", *taken])[1:] == taken
    assert not [flag for flag in taken if flag in REFUSED or flag.startswith(tuple(FAMILIES))]


def test_exits_end_at_a_folder(tmp_path: Path) -> None:
    tokens = ["classify", "--exits", "layer1.2", "0.5", str(tmp_path)]
    assert spread(tokens) == ["classify", "--exits=layer1.2", "--exits=0.5", str(tmp_path)]


def test_goals_end_at_what_is_none() -> None:
    tokens = ["classify", "--calibrate", "drop=1%", "delta=5%", "photos"]
    assert spread(tokens) == ["classify", "--calibrate=drop=1%", "--calibrate=delta=5%", "photos"]


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (["--export-onnx", "photos"], ["--export-onnx=model.onnx", "photos"]),
        (["--export-onnx", "net.onnx", "photos"], ["--export-onnx=net.onnx", "photos"]),
        (["--export-onnx=net.onnx"], ["--export-onnx=net.onnx"]),
        (["--export-onnx"], ["--export-onnx=model.onnx"]),
    ],
)
def test_the_name_of_the_onnx_file_may_be_left_out(tokens: list[str], expected: list[str]) -> None:
    assert spread(["classify", *tokens]) == ["classify", *expected]


def test_other_commands_are_left_alone() -> None:
    tokens = ["export", "--thresholds", "0.5", "0.5", "--export-onnx"]
    assert spread(tokens) == tokens
