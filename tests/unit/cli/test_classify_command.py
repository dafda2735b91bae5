from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import offramp as ofr
from offramp import zoo
from offramp.cli import main
from offramp.cli.steps.classification.compressing import configuration
from offramp.cli.steps.classification.folder import ClassifyFolder, read_weights
from offramp.data import ImageData, write_cifar_batches, write_image_folder

Failing = Callable[..., str]
EXITS = ["--earlyexit_thresholds", "1.5", "--earlyexit_lossweights", "0.4"]
TINY = ["-a", "resnet20_cifar_earlyexit", "--epochs", "1", "-b", "32", "--lr", "0.02", "-p", "1", *EXITS]


def blobs(samples: int, side: int, seed: int, classes: int = 4) -> ImageData:
    """Noise with a bright quarter that says the class."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(samples) % classes
    images = torch.randint(0, 90, (samples, 3, side, side), generator=draw, dtype=torch.uint8)
    half = side // 2
    for k in range(classes):
        rows, columns = (k // 2) * half, (k % 2) * half
        images[labels == k, :, rows : rows + half, columns : columns + half] += 120
    return ImageData("blobs", images, labels, tuple("abcdefghij"[:classes]), "made up")


@pytest.fixture(scope="session")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pcifar10")
    write_cifar_batches(blobs(120, 32, 0), blobs(40, 32, 1), folder)
    return folder


@pytest.fixture(scope="session")
def trained(cifar: Path, tmp_path_factory: pytest.TempPathFactory) -> ClassifyFolder:
    """A run of the manual's command, shortened. Shared: nothing in it may be changed."""
    out = tmp_path_factory.mktemp("out")
    command = (
        f"classify --arch=resnet20_cifar_earlyexit --epochs=2 -b 32 --lr=0.02 --earlyexit_thresholds 0.6 "
        f"--earlyexit_lossweights 0.4 -j 30 --out-dir {out} -n earlyexit {cifar} --cpu -p 2 --confusion "
        "--report-label-oracle --num-best-scores 2"
    )
    assert main(command.split()) == 0
    (folder,) = out.iterdir()
    return ClassifyFolder(folder)


def results(folder: ClassifyFolder) -> dict[str, Any]:
    return json.loads(folder.results.read_text())  # type: ignore[no-any-return]


def test_the_manuals_command_for_cifar_runs_to_its_end(trained: ClassifyFolder) -> None:
    assert re.fullmatch(r"earlyexit___\d{4}\.\d\d\.\d\d-\d{6}", trained.path.name)
    log = trained.log.read_text()
    assert "-j 30: more processes than the cores" in log
    assert "Epoch: [1][    4/    4]    Overall Loss" in log
    assert log.count("Totals for entire network with early exits:") == 3
    assert log.count("==> Best [") == 3
    assert "Versions: python" in log
    test = results(trained)["test"]
    assert test["samples"] == 40
    assert sum(row["count"] for row in test["exits"]) == 40


def test_exits_are_taken_and_what_was_executed_is_what_was_said(trained: ClassifyFolder) -> None:
    test = results(trained)["test"]
    assert test["executed"]["top1"] == pytest.approx(test["top1"])
    assert test["executed"]["seconds"] > 0
    early, last = test["exits"]
    macs = json.loads(trained.description.read_text())["macs"]
    assert test["mean_macs"] == pytest.approx((early["count"] * macs[0] + last["count"] * macs[1]) / 40)


def test_every_checkpoint_holds_what_is_needed_to_go_on(trained: ClassifyFolder) -> None:
    best = torch.load(trained.best, weights_only=True)
    latest = torch.load(trained.checkpoint, weights_only=True)
    (state,) = latest["callbacks"].values()
    for facts in (best, state["facts"]):
        assert ofr.Policy.from_dict(facts["policy"]).thresholds == (-0.6,)
        assert facts["options"]["exits"]["loss_weights"] == [0.4]
        assert facts["split"]["sizes"] == {"train": 108, "validation": 12, "calibration": 0, "test": 40}
        assert len(facts["split"]["sha256"]) == 64
        assert facts["randomness"]["seed"] == 0


def test_the_test_runs_on_the_best_epoch(trained: ClassifyFolder) -> None:
    rows = json.loads(trained.epochs_json.read_text())["epochs"]
    best = max(rows, key=lambda row: (row["validation"]["top1"], row["validation"]["top5"], -row["epoch"]))
    assert torch.load(trained.best, weights_only=True)["epoch"] == best["epoch"]


def test_epochs_are_logged_with_validation_per_exit(trained: ClassifyFolder) -> None:
    rows = list(csv.DictReader(trained.epochs_csv.open()))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert {"Training/Top1_exit0", "Validation/top1_exit0", "Validation/count_exit1"} <= set(rows[0])


def test_tensorboard_has_distillers_names(trained: ClassifyFolder) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(trained.tensorboard))
    events.Reload()
    names = set(events.Tags()["scalars"])
    assert {f"Performance/Validation/{name}" for name in ("Loss", "Top1", "Top5", "Percent_exit0")} <= names
    assert {"Performance/Training/Top1_exit0", "Performance/Training/Top5_exit1"} <= names


def test_the_oracle_is_reported_as_one(trained: ClassifyFolder) -> None:
    found = results(trained)["test"]["label_oracle"]
    assert found["deployable"] is False
    assert found["deployed"]["top1"] == results(trained)["test"]["top1"]
    assert "cannot be deployed" in trained.log.read_text()


def test_confusion_is_of_the_answers_with_exits(trained: ClassifyFolder) -> None:
    matrix = torch.tensor(results(trained)["test"]["confusion"])
    assert matrix.sum() == 40
    assert 100 * matrix.diag().sum() / 40 == pytest.approx(results(trained)["test"]["top1"])


def test_evaluating_gives_the_same_test(trained: ClassifyFolder, cifar: Path, tmp_path: Path) -> None:
    assert main(["classify", "-e", "--resume-from", str(trained.path), "-o", str(tmp_path), "--cpu", str(cifar)]) == 0
    (folder,) = tmp_path.iterdir()
    again, before = results(ClassifyFolder(folder))["test"], results(trained)["test"]
    assert again["exits"] == before["exits"]
    assert again["mean_macs"] == before["mean_macs"]


def test_weights_of_the_plain_network_load_into_its_twin(cifar: Path, tmp_path: Path) -> None:
    plain = zoo.build("resnet20_cifar", num_classes=4)
    file = tmp_path / "plain.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in plain.state_dict().items()}}, file)
    out = tmp_path / "out"
    command = ["classify", *TINY, "-e", "--exp-load-weights-from", str(file), "-o", str(out), str(cifar), "--cpu"]
    assert main(command) == 0
    (folder,) = out.iterdir()
    assert "those of the backbone" in ClassifyFolder(folder).log.read_text()


def test_a_checkpoint_of_distillers_loads_with_its_branches(cifar: Path, tmp_path: Path) -> None:
    source = zoo.build_with_exits("resnet20_cifar_earlyexit", num_classes=4, seed=9)
    names = {"linear.weight": "layer1.2.relu2.branch_net.2.weight", "linear.bias": "layer1.2.relu2.branch_net.2.bias"}
    state = dict(source.backbone.state_dict()) | {names[k]: v for k, v in source.heads[0].state_dict().items()}
    optimizer = torch.optim.SGD(source.parameters(), lr=0.1, momentum=0.9)
    file, out = tmp_path / "best.pth.tar", tmp_path / "out"
    checkpoint = {
        "epoch": 7,
        "arch": "resnet20_cifar_earlyexit",
        "state_dict": {f"module.{k}": v for k, v in state.items()},
        "optimizer_state_dict": optimizer.state_dict(),
        "optimizer_type": type(optimizer),
        "compression_sched": {"masks_dict": {"module.conv1.weight": None}},
        "extras": {"best_top1": np.float64(91.2), "current_top1": np.float64(90.1), "best_epoch": 6},
    }
    torch.save(checkpoint, file)
    command = ["classify", *TINY, "-e", "--exp-load-weights-from", str(file), "-o", str(out), str(cifar), "--cpu"]
    assert main([*command, "--summary", "sparsity"]) == 0
    assert main(command) == 0
    (folder,) = out.iterdir()
    log = ClassifyFolder(folder).log.read_text()
    assert f"Weights from {file}." in log
    assert "start afresh" not in log


def test_onnx_with_exits(trained: ClassifyFolder, cifar: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    tokens = ["classify", "-e", "--resume-from", trained.path, "-o", tmp_path, "--cpu", "--export-onnx", "n.onnx"]
    assert main(list(map(str, tokens))) == 0
    (folder,) = tmp_path.iterdir()
    assert (folder / "n.onnx" / "model.onnx").exists()
    parity = results(ClassifyFolder(folder))["onnx"]["parity"]
    assert all(entry["equal"] + entry["near"] == entry["rows"] for entry in parity)


def test_distillation_with_exits_changes_the_weights(trained: ClassifyFolder, cifar: Path, tmp_path: Path) -> None:
    tokens = [*TINY, "--cpu", "--etrs", "0.5", str(cifar), "-o", str(tmp_path)]
    teaching = ["--kd-teacher", "resnet20_cifar_earlyexit", "--kd-resume", str(trained.path), "--kd-temp", "4"]
    assert main(["classify", *tokens, "-n", "alone"]) == 0
    assert main(["classify", *tokens, "-n", "taught", *teaching]) == 0
    weights = {path.name.split("_")[0]: read_weights(path / "best.pt") for path in tmp_path.iterdir()}
    name = "heads.0.linear.weight"
    assert not weights["taught"][name].equal(weights["alone"][name])


def test_exits_elsewhere_and_on_a_plain_network(cifar: Path, tmp_path: Path) -> None:
    tokens = ["classify", "-a", "resnet20_cifar", "-e", "--exits", "layer1.0", "0.6", str(cifar), "--cpu"]
    flags = ["--criterion", "max_probability", "--earlyexit_thresholds", "0.2", "0.2", "-o", str(tmp_path)]
    assert main([*tokens, *flags]) == 0
    (folder,) = tmp_path.iterdir()
    facts = json.loads((folder / "run.json").read_text())
    assert facts["cuts"][0] == "layer1.0"
    assert len(facts["macs"]) == 3
    # Of four classes, one has a probability above 0.2.
    assert results(ClassifyFolder(folder))["test"]["exits"][0]["count"] == 40


def test_a_plain_network_needs_no_flags_of_exits(cifar: Path, tmp_path: Path) -> None:
    tokens = ["-a", "resnet20_cifar", "--epochs", "1", "-b", "64", "--lr", "0.02", "--etrs", "0.5", "--cpu", "--det"]
    assert main(["classify", *tokens, "-o", str(tmp_path), str(cifar)]) == 0
    assert not torch.are_deterministic_algorithms_enabled(), "it is for this run only"
    (folder,) = tmp_path.iterdir()
    (only,) = results(ClassifyFolder(folder))["test"]["exits"]
    assert only["percent"] == 100
    log = (folder / "log.txt").read_text()
    assert re.search(r"Epoch: \[0\].*    Top1 [\d.]+    Top5 ", log), "as Distiller names them without exits"
    assert "Totals for entire network with early exits" not in log
    assert re.search(r"==> Test: Top1: [\d.]+    Top5: [\d.]+    Loss: ", log)
    assert f"Log file for this run: {folder / 'log.txt'}" in log


def test_a_gpu_that_is_not_there_is_the_cpu_with_a_note(
    cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    tokens = ["-a", "ResNet20_CIFAR", "-e", "--gpus", "0", "-o", str(tmp_path), str(cifar)]
    assert main(["classify", *tokens]) == 0
    (folder,) = tmp_path.iterdir()
    assert "--gpus 0: there is no GPU" in (folder / "log.txt").read_text()
    assert json.loads((folder / "run.json").read_text())["device"].startswith("cpu")


def test_thresholds_can_be_chosen_by_a_goal(failing: Failing, cifar: Path, tmp_path: Path) -> None:
    tokens = ["-a", "resnet20_cifar_earlyexit", "--epochs", "1", "-b", "32", "--lr", "0.02", "--cpu", str(cifar)]
    weights = ["--earlyexit_lossweights", "0.4", "-o", str(tmp_path), "-n", "first"]
    assert main(["classify", *tokens, *weights, "--calibrate", "drop=50%"]) == 0
    (folder,) = tmp_path.iterdir()
    found = results(ClassifyFolder(folder))
    assert found["calibration"]["evidence"]["split"] == "calibration"
    assert found["policy"]["criterion"] == {"name": "entropy"}
    assert ofr.Policy.load(folder / "policy.json").to_dict() == found["policy"]
    again = ["classify", "-e", "--resume-from", str(folder), "--calibrate", "drop=0%", "-o", str(tmp_path)]
    assert main(again) == 0
    assert "may have been trained on them" in failing(1, *again, "--vs", "0.2")


def test_thresholds_are_not_chosen_on_images_that_were_trained_on(
    failing: Failing, trained: ClassifyFolder, tmp_path: Path
) -> None:
    tokens = ["-e", "--resume-from", trained.path, "-o", tmp_path / "out", "--calibrate", "drop=50%"]
    assert "did not hold these images out" in failing(1, "classify", *tokens)
    assert not (tmp_path / "out").exists()


PRUNING = {
    "accuracy_aware_training": {
        "mode": "early_exit",
        "params": {"maximal_absolute_accuracy_degradation": 0.9, "maximal_total_epochs": 1},
    },
    "compression": [{"algorithm": "filter_pruning", "pruning_init": 0.3, "params": {"pruning_target": 0.3}}],
}


@pytest.mark.slow
def test_compression_with_exits(cifar: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch_pruning")
    config, out = tmp_path / "pruning.json", tmp_path / "out"
    config.write_text(json.dumps(PRUNING))
    tokens = ["classify", *TINY, "--cpu", "--etrs", "0.3", "-o", str(out), str(cifar), "--compress", str(config)]
    assert main(tokens) == 0
    (folder,) = out.iterdir()
    found = results(ClassifyFolder(folder))
    size = found["compression"]["size"]
    assert size["after"]["macs"] < size["before"]["macs"]
    assert found["test"]["plain_macs"] == pytest.approx(size["after"]["macs"], rel=0.01)
    small = ofr.load_bundle(folder / "bundle")
    assert len(small(torch.zeros(3, 3, 32, 32)).exits) == 3


def test_compression_without_a_loop(failing: Failing, cifar: Path, tmp_path: Path) -> None:
    config = tmp_path / "pruning.json"
    config.write_text(json.dumps({"compression": PRUNING["compression"]}))
    tokens = [*TINY, "--cpu", "-o", tmp_path / "out", cifar, "--compress", config]
    assert "asks for no loop" in failing(1, "classify", *tokens)
    assert not (tmp_path / "out").exists(), "it is refused before anything is trained"


SCHEDULE = """
lr_schedulers:
  training_lr: {class: StepLR, step_size: 45, gamma: 0.10}
pruners:
  filters: {class: L1RankedStructureParameterPruner, group_type: Filters, desired_sparsity: 0.5}
policies:
  - lr_scheduler: {instance_name: training_lr}
    starting_epoch: 0
"""


@pytest.mark.parametrize("name", ["schedule.yaml", "schedule"])
def test_a_schedule_of_distillers_is_told_what_to_write_instead(failing: Failing, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(SCHEDULE)
    said = failing(2, "classify", *TINY, "--compress", tmp_path / name, "X")
    assert "a schedule of Distiller in YAML" in said
    assert "instead of pruners, filter_pruning or magnitude_sparsity" in said
    assert "quantizers" not in said
    (example,) = re.findall(r"such as (\{.*\})\.", said)
    (tmp_path / "example.json").write_text(example)
    assert configuration(tmp_path / "example.json").loop is not None, "what it tells to write can be read"


def test_sensitivity_of_every_layer(trained: ClassifyFolder, cifar: Path, tmp_path: Path) -> None:
    tokens = ["-e", "--resume-from", str(trained.path), "-o", str(tmp_path), "--cpu", str(cifar)]
    assert main(["classify", *tokens, "--sense", "filter", "--sense-range", "0", "0.6", "0.5"]) == 0
    (folder,) = tmp_path.iterdir()
    rows = list(csv.DictReader((folder / "sensitivity.csv").open()))
    layers = {row["parameter"] for row in rows}
    assert len(rows) == 2 * len(layers)
    assert "heads.0.linear.weight" in layers
    whole = {row["top1"] for row in rows if float(row["sparsity"]) == 0}
    assert len(whole) == 1, "every layer was put back as it was"


@pytest.mark.parametrize("summary", ["sparsity", "compute", "model", "modules"])
def test_summaries_with_exits(summary: str, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = ["-a", "resnet20_cifar_earlyexit", "--summary", summary, "--json", "-"]
    assert main(["classify", *tokens]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)["summary"][summary]
    assert "backbone.layer3.0.downsample.0" in printed.err or summary == "model", "no name is cut short"
    if summary == "compute":
        assert found["plain_macs"] == 40_813_184
        assert found["exits"][0]["percent_of_plain"] == pytest.approx(35.8, abs=0.05)
    assert "heads" in json.dumps(found)


def test_a_summary_of_a_run_is_of_its_weights(trained: ClassifyFolder, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = ["--resume-from", str(trained.path), "--summary", "sparsity", "--json", "-", "-e"]
    assert main(["classify", *tokens]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["classes"] == 4
    assert found["summary"]["sparsity"][-1]["parameter"] == "total"


def test_a_drawing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    assert main(["classify", "-a", "resnet20_cifar_earlyexit", *EXITS, "--summary", "png"]) == 0
    assert (tmp_path / "resnet20_cifar_earlyexit.png").read_bytes().startswith(b"\x89PNG")


def test_the_manuals_command_for_imagenet_runs_on_an_image_folder(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    data, out = tmp_path / "i1k", tmp_path / "out"
    write_image_folder(blobs(12, 40, 0, classes=3), blobs(6, 40, 1, classes=3), data)
    command = (
        f"classify --arch=resnet18_earlyexit --epochs=1 -b 8 --lr=0.003 --earlyexit_thresholds 1.2 0.9 "
        f"--earlyexit_lossweights 0.1 0.3 -j 30 --out-dir {out} -n earlyexit {data} --cpu --vs 0.25"
    )
    assert main(command.split()) == 0
    (folder,) = out.iterdir()
    assert len(results(ClassifyFolder(folder))["test"]["exits"]) == 3


@pytest.mark.parametrize(
    ("tokens", "code", "said"),
    [
        (["-a", "resnet20_cifr", "X"], 2, "'resnet20_cifar'"),
        (["-a", "resnet20_cifar_earlyexit", "X"], 2, "--earlyexit_thresholds and --earlyexit_lossweights: missing"),
        (["-a", "resnet20_cifar", *EXITS, "X"], 2, "has no early exits"),
        ([*TINY, "--earlyexit_thresholds", "0.1", "0.2", "X"], 2, "2 numbers"),
        ([*TINY, "--criterion", "loss", "X"], 2, "--criterion loss"),
        ([*TINY], 2, "DATA: missing"),
        ([*TINY, "no-such-folder"], 1, "no-such-folder"),
        ([*TINY, "--device", "cpu", "--gpus", "0", "X"], 2, "give one of them"),
        (["-a", "resnet20_cifar", "--resume-from", "nowhere"], 1, "there is no run"),
        ([*TINY, "-j", "many", "X"], 2, "many"),
        ([*TINY, "--resume", "checkpoint.pth.tar", "X"], 2, "write --exp-load-weights-from FILE"),
        ([*TINY, "--calibrate", "loss=1", "X"], 2, "--calibrate loss=1"),
        ([*TINY, "--kd-teacher", "resnet20", "--kd-resume", "F", "X"], 2, "--kd-teacher resnet20: there is no such"),
        ([*TINY, "--criterion", "margin", "--report-label-oracle", "X"], 2, "leave --criterion out"),
        ([*TINY, "--compress", "no-such.json", "X"], 1, "no-such.json"),
        ([*TINY, "--exits", "layer9", "--", "digits"], 1, "layer9"),
    ],
)
def test_bad_input_is_a_message_and_a_code(failing: Failing, tokens: list[str], code: int, said: str) -> None:
    assert said in failing(code, "classify", *tokens)


def test_data_that_is_truncated(failing: Failing, cifar: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    write_cifar_batches(blobs(40, 32, 0), blobs(20, 32, 1), broken)
    (batch,) = broken.rglob("data_batch_3")
    batch.write_bytes(batch.read_bytes()[:1000])
    assert "data_batch_3" in failing(1, "classify", *TINY, broken, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_number_of_classes_in_a_checkpoint(failing: Failing, cifar: Path, tmp_path: Path) -> None:
    file = tmp_path / "ten.pth"
    torch.save(zoo.build("resnet20_cifar", num_classes=10).state_dict(), file)
    message = failing(1, "classify", *TINY, "--exp-load-weights-from", file, "-o", tmp_path / "out", cifar)
    assert "10 classes, the network has 4" in message


def test_a_checkpoint_that_would_run_code(failing: Failing, cifar: Path, tmp_path: Path) -> None:
    file = tmp_path / "code.pth"
    torch.save({"state_dict": {}, "extras": zoo.build("lenet")}, file)
    message = failing(1, "classify", *TINY, "--exp-load-weights-from", file, "-o", tmp_path / "out", cifar)
    assert "holds more than weights" in message


@pytest.mark.parametrize("content", [b"root:x:0:0:root\nbin:x:1:1\n", b"", b"\x80\x02N.", b"PK\x03\x04 and no more"])
def test_a_file_that_is_no_checkpoint(failing: Failing, cifar: Path, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other.pth"
    file.write_bytes(content)
    message = failing(1, "classify", *TINY, "--exp-load-weights-from", file, "-o", tmp_path / "out", cifar)
    assert "is damaged or no checkpoint" in message or "holds no weights" in message or "more than weights" in message
    assert not (tmp_path / "out").exists()


def test_random_weights_are_told(cifar: Path, tmp_path: Path) -> None:
    assert main(["classify", *TINY, "-e", "-o", str(tmp_path), str(cifar), "--cpu"]) == 0
    (folder,) = tmp_path.iterdir()
    assert "No weights are given, so they are random" in (folder / "log.txt").read_text()


def test_pretrained_downloads_nothing(
    failing: Failing, cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    tokens = ["classify", *TINY, "-e", "--pretrained", "-o", tmp_path / "out", cifar, "--cpu"]
    assert "nothing is downloaded" in failing(1, *tokens)
    (tmp_path / "checkpoints").mkdir()
    weights = zoo.build("resnet20_cifar", num_classes=4).state_dict()
    torch.save(weights, tmp_path / "checkpoints" / "resnet20_cifar-12345678.pth")
    assert main([str(token) for token in tokens]) == 0


def test_a_changed_data_set_is_not_resumed_on(failing: Failing, trained: ClassifyFolder, tmp_path: Path) -> None:
    write_cifar_batches(blobs(80, 32, 0), blobs(20, 32, 1), tmp_path)
    message = failing(1, "classify", "--resume-from", trained.path, tmp_path)
    assert "are not divided as in" in message


def test_other_images_in_the_same_number_are_not_resumed_on(
    failing: Failing, trained: ClassifyFolder, tmp_path: Path
) -> None:
    other = blobs(120, 32, 0)
    write_cifar_batches(replace(other, labels=other.labels.flip(0)), blobs(40, 32, 1), tmp_path)
    assert "are not divided as in" in failing(1, "classify", "--resume-from", trained.path, tmp_path)


def test_a_run_without_a_checkpoint_is_not_gone_on_with(
    failing: Failing, trained: ClassifyFolder, tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_bytes(trained.description.read_bytes())
    assert "there is no checkpoint" in failing(1, "classify", "--resume-from", tmp_path)


def test_ctrl_c_says_how_to_go_on(
    cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*given: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("offramp.cli.steps.classification.testing.test", interrupt)
    tokens = ["classify", *TINY, "--etrs", "0.3", "-o", str(tmp_path), str(cifar), "--cpu"]
    assert main(tokens) == 130
    (folder,) = tmp_path.iterdir()
    assert f"--resume-from {folder}" in " ".join(capsys.readouterr().out.split())
    monkeypatch.undo()
    assert main(["classify", "--resume-from", str(folder), "--cpu"]) == 0
    assert (folder / "results.json").exists()


def test_a_run_with_other_options_is_not_resumed(failing: Failing, trained: ClassifyFolder) -> None:
    assert "training lr is 0.02 there and 0.5 now" in failing(
        2, "classify", "--resume-from", trained.path, "--lr", "0.5"
    )


def test_only_the_weights_of_a_run(trained: ClassifyFolder, cifar: Path, tmp_path: Path) -> None:
    tokens = ["--resume-from", trained.path, "--reset-optimizer", "--epochs", "1", "-b", "64", "--lr", "0.001"]
    assert main(list(map(str, ["classify", *tokens, "-o", tmp_path, "--cpu", cifar]))) == 0
    (folder,) = tmp_path.iterdir()
    assert [row["epoch"] for row in json.loads((folder / "epochs.json").read_text())["epochs"]] == [0]
