from __future__ import annotations

from typing import Any

import pytest
import torch

from offramp.cli.classify import device_of
from offramp.cli.classify_options import (
    ClassifyOptions,
    CompressionOptions,
    DistillationOptions,
    ExitOptions,
    ImageOptions,
    NetworkOptions,
    OutputOptions,
    TrainingOptions,
)
from offramp.cli.failures import UsageError
from offramp.cli.options import Common
from offramp.cli.steps.classification import calibrating, saved_options, sensitivity
from offramp.cli.steps.classification.checking import Places, check
from offramp.cli.steps.classification.networks import places

GROUPS: dict[str, Any] = {
    "network": NetworkOptions,
    "exits": ExitOptions,
    "training": TrainingOptions,
    "images": ImageOptions,
    "output": OutputOptions,
    "distillation": DistillationOptions,
    "compression": CompressionOptions,
    "common": Common,
}
TWO = Places("resnet50_earlyexit", ("layer1.2", "layer2.3"))
PLAIN = Places("resnet20_cifar", (), "resnet20_cifar_earlyexit")


def options(**groups: dict[str, Any]) -> ClassifyOptions:
    return ClassifyOptions(**{name: GROUPS[name](**values) for name, values in groups.items()})


def refused(where: Places, **groups: dict[str, Any]) -> str:
    with pytest.raises(UsageError) as caught:
        check(options(**groups), where)
    return str(caught.value)


GOOD = {"thresholds": [1.2, 0.9], "loss_weights": [0.1, 0.3]}


def test_what_is_right_is_taken() -> None:
    check(options(exits=GOOD), TWO)
    check(options(), PLAIN)
    check(options(exits={"loss_weights": [0.1, 0.3], "calibrate": ["drop=1%"]}), TWO)
    check(options(exits={"thresholds": [1.2, 0.9]}, training={"evaluate": True}), TWO)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("field", "flag"), [("thresholds", "thresholds"), ("loss_weights", "lossweights")])
def test_another_number_than_there_are_exits(count: int, field: str, flag: str) -> None:
    message = refused(TWO, exits={**GOOD, field: [0.1] * count})
    assert f"--earlyexit_{flag}" in message
    assert f"{count} numbers" in message
    assert "2 early exits, behind layer1.2, layer2.3" in message


@pytest.mark.parametrize(("field", "flag"), [("thresholds", "thresholds"), ("loss_weights", "lossweights")])
def test_only_one_of_the_two(field: str, flag: str) -> None:
    message = refused(TWO, exits={**GOOD, field: None})
    assert message.startswith(f"--earlyexit_{flag}: missing.")
    assert "layer1.2, layer2.3" in message


def test_an_early_exit_network_without_flags() -> None:
    assert "--earlyexit_thresholds and --earlyexit_lossweights: missing" in refused(TWO)


def test_flags_on_a_plain_network() -> None:
    message = refused(PLAIN, exits={"thresholds": [0.4], "loss_weights": [0.4]})
    assert "resnet20_cifar has no early exits" in message
    assert "--arch resnet20_cifar_earlyexit" in message


@pytest.mark.parametrize("weights", [[0.5, 0.5], [0.9, 0.3]])
def test_weights_that_leave_nothing_for_the_final_exit(weights: list[float]) -> None:
    assert "must be below 1" in refused(TWO, exits={**GOOD, "loss_weights": weights})


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_weights_that_are_none(weight: float) -> None:
    assert "at least 0" in refused(TWO, exits={**GOOD, "loss_weights": [0.1, weight]})


@pytest.mark.parametrize("threshold", [-0.1, float("nan")])
def test_thresholds_that_no_entropy_is_below(threshold: float) -> None:
    assert "--earlyexit_thresholds" in refused(TWO, exits={**GOOD, "thresholds": [threshold, 0.9]})


@pytest.mark.parametrize(
    ("group", "field", "value", "flag"),
    [
        ("training", "epochs", 0, "--epochs"),
        ("training", "batch_size", 0, "--batch-size"),
        ("training", "print_freq", 0, "--print-freq"),
        ("training", "lr", 0.0, "--lr"),
        ("training", "lr", float("nan"), "--lr"),
        ("training", "momentum", 1.0, "--momentum"),
        ("training", "weight_decay", -1.0, "--wd"),
        ("images", "workers", -1, "--workers"),
        ("images", "validation_split", 1.0, "--vs"),
        ("images", "train_size", 0.0, "--etrs"),
        ("images", "validation_size", 1.5, "--evs"),
        ("images", "test_size", -0.5, "--etes"),
        ("output", "num_best_scores", 0, "--num-best-scores"),
    ],
)
def test_numbers_out_of_range(group: str, field: str, value: float, flag: str) -> None:
    assert flag in refused(PLAIN, **{group: {field: value}})


def test_every_problem_is_named_at_once() -> None:
    message = refused(TWO, exits={"thresholds": [0.1], "loss_weights": [0.9, 0.9]}, training={"epochs": 0})
    assert len(message.splitlines()) == 3


@pytest.mark.parametrize(
    ("group", "values", "said"),
    [
        ("network", {"pretrained": True, "resume_from": "x"}, "give one of them"),
        ("network", {"reset_optimizer": True}, "goes with --resume-from"),
        ("distillation", {"temperature": 4.0}, "no teacher"),
        ("distillation", {"teacher": "resnet20_cifar"}, "needs weights"),
        ("distillation", {"teacher": "resnet20_cifar", "pretrained": True, "temperature": 0.0}, "--kd-temp"),
        ("distillation", {"teacher": "resnet20_cifar", "pretrained": True, "distill_weight": -1.0}, "--kd-dw"),
    ],
)
def test_flags_that_do_not_go_together(group: str, values: dict[str, Any], said: str) -> None:
    assert said in refused(PLAIN, **{group: values})


@pytest.mark.parametrize(
    ("flag", "groups"),
    [
        ("--calibrate", {"exits": {**GOOD, "calibrate": ["drop=1%"]}}),
        ("--sense", {"exits": GOOD, "compression": {"sense": "element"}}),
        ("--compress", {"exits": GOOD, "compression": {"compress": "file.json"}}),
    ],
)
def test_what_needs_held_out_images(flag: str, groups: dict[str, Any]) -> None:
    message = refused(TWO, images={"validation_split": 0.0}, **groups)
    assert message.startswith(flag)
    assert "--vs 0.1" in message


def test_an_unknown_network_names_the_closest() -> None:
    with pytest.raises(UsageError, match=r"resnet32_cifa: .*'resnet32_cifar'"):
        places("resnet32_cifa", None)


def test_places_are_distillers_or_ones_own() -> None:
    assert places("resnet50_earlyexit", None).cuts == ("layer1.2", "layer2.3")
    assert places("resnet56_cifar_earlyexit", None).cuts == ("layer1.2",)
    assert places("resnet20_cifar", ["layer1", "0.5"]).cuts == ("layer1", "0.5")
    assert places("resnet20_cifar", None) == PLAIN


@pytest.mark.parametrize("words", [["drop"], ["fall=1%"], ["delta=5%"], ["drop=1%", "drop=2%"], ["drop=much"]])
def test_goals_that_are_none(words: list[str]) -> None:
    with pytest.raises(UsageError, match="--calibrate"):
        calibrating.parse(words)


@pytest.mark.parametrize("words", [["drop=200%"], ["drop=1%", "delta=0"]])
def test_goals_out_of_range(words: list[str]) -> None:
    with pytest.raises(UsageError, match="--calibrate"):
        _ = calibrating.parse(words).goal


@pytest.mark.parametrize("given", [[0.0, 0.5], [0.5, 0.1, 0.1], [0.0, 1.5, 0.1], [0.0, 0.5, 0.0]])
def test_levels_of_sensitivity_that_are_none(given: list[float]) -> None:
    with pytest.raises(UsageError, match="--sense-range"):
        sensitivity.levels(given)


def test_the_default_levels_are_distillers() -> None:
    levels = sensitivity.levels(None)
    assert (levels[0], levels[1], levels[-1], len(levels)) == (0.0, 0.05, 0.9, 19)


@pytest.mark.parametrize(
    ("images", "device", "expected"),
    [
        ({"cpu": True}, "auto", "cpu"),
        ({"gpus": "1"}, "auto", "cuda:1"),
        ({"cpu": True, "gpus": "0"}, "auto", "cpu"),
        ({}, "cpu", "cpu"),
        ({}, "auto", "auto"),
    ],
)
def test_the_device(images: dict[str, Any], device: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of(options(images=images, common={"device": device})) == expected


def test_a_gpu_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of(options(images={"gpus": "0"})) == "cpu"


@pytest.mark.parametrize(
    ("images", "device"), [({"gpus": "0,1"}, "auto"), ({"gpus": "all"}, "auto"), ({"gpus": "0"}, "cpu")]
)
def test_devices_that_are_none(images: dict[str, Any], device: str) -> None:
    with pytest.raises(UsageError, match="--gpus"):
        device_of(options(images=images, common={"device": device}))


SAVED = saved_options.to_dict(options(exits=GOOD, training={"lr": 0.003, "epochs": 20}, common={"seed": 3}))


def test_a_resumed_run_takes_what_is_left_out_from_the_earlier_one() -> None:
    joined = saved_options.joined(options(images={"workers": 1}), SAVED, strict=True)
    assert saved_options.to_dict(joined) == SAVED
    assert joined.images.workers == 1


def test_a_resumed_run_is_not_another_one() -> None:
    with pytest.raises(UsageError, match=r"training lr is 0.003 there and 0.01 now") as caught:
        saved_options.joined(options(training={"lr": 0.01}), SAVED, strict=True)
    assert "--reset-optimizer" in str(caught.value)


def test_a_run_that_takes_the_weights_alone_has_its_own_epochs_and_thresholds() -> None:
    joined = saved_options.joined(options(exits={"thresholds": [0.1, 0.1]}), SAVED, strict=False)
    assert joined.exits.thresholds == [0.1, 0.1]
    assert joined.exits.loss_weights == [0.1, 0.3]
    assert joined.training == TrainingOptions()
    assert joined.common.seed == 3
