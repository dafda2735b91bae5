from __future__ import annotations

from pathlib import Path

import pytest

from offramp.cli.classify_arguments import spread

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
