"""NNCF's names: code written for it runs with another import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from offramp.compression import (
    Stage,
    create_accuracy_aware_training_loop,
    create_compressed_model,
)
from offramp.compression.creation import _scale_gradients
from offramp.errors import CompressionError

pytestmark = pytest.mark.usefixtures("fakes")


def config(tmp_path: Path | None = None, mode: str = "early_exit", **params: Any) -> dict[str, Any]:
    limits = {"maximal_absolute_accuracy_degradation": 0.02, "maximal_total_epochs": 12, **params}
    return {
        "input_info": {"sample_size": [1, 6]},
        "compression": [{"algorithm": "thinning", "start": 0.1, "params": {"pruning_steps": 3}}],
        "accuracy_aware_training": {"mode": mode, "params": limits},
        **({} if tmp_path is None else {"log_dir": str(tmp_path)}),
    }


def test_the_manuals_steps_run(task: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = config()
    controller, model = create_compressed_model(task.model(), settings)
    loop = create_accuracy_aware_training_loop(
        settings, controller, uncompressed_model_accuracy=0.9, dump_checkpoints=True, verbose=False
    )
    returned = loop.run(
        model,
        train_epoch_fn=task.train_epoch,
        validate_fn=task.validate,
        configure_optimizers_fn=lambda: task.optimizers(model),
        log_dir=tmp_path,
    )
    assert returned is model
    statistics = loop.statistics
    with torch.no_grad():
        measured = task.validate(model, 0)
    assert statistics.uncompressed_accuracy == 0.9
    assert statistics.compressed_accuracy == measured
    assert statistics.absolute_accuracy_degradation == pytest.approx(0.9 - measured)
    assert statistics.relative_accuracy_degradation == pytest.approx(100 * (0.9 - measured) / 0.9)
    assert statistics.accuracy_budget == pytest.approx(measured - 0.88)
    assert statistics.compression_rate == controller.statistics().achieved == 0.5
    assert (tmp_path / "acc_aware_checkpoint_last.pth").exists()
    assert (tmp_path / "acc_aware_checkpoint_best.pth").exists()
    assert "Accuracy budget" in statistics.to_str()


def test_checkpoint_functions_are_called(task: Any, tmp_path: Path) -> None:
    settings = config()
    controller, model = create_compressed_model(task.model(), settings)
    dumped: list[Path] = []
    loaded: list[Path] = []

    def dump(model: nn.Module, controller: Any, runner: Any, folder: Path) -> None:
        dumped.append(folder)

    loop = create_accuracy_aware_training_loop(settings, controller, 0.9, verbose=False)
    loop.run(
        model,
        task.train_epoch,
        task.validate,
        lambda: task.optimizers(model),
        dump_checkpoint_fn=dump,
        load_checkpoint_fn=lambda model, path: loaded.append(path),
        log_dir=tmp_path,
    )
    assert len(dumped) == len(loop.outcome.history)
    assert loaded == [tmp_path / "acc_aware_checkpoint_best.pth"]


def test_the_configurations_log_dir_is_used(task: Any, tmp_path: Path) -> None:
    settings = config(tmp_path / "logs")
    controller, model = create_compressed_model(task.model(), settings)
    create_accuracy_aware_training_loop(settings, controller, 0.1, verbose=False).run(
        model, task.train_epoch, task.validate, lambda: task.optimizers(model)
    )
    assert (tmp_path / "logs" / "acc_aware_checkpoint_last.pth").exists()


def test_compression_state_moves_to_another_model(task: Any) -> None:
    controller, model = create_compressed_model(task.model(), config())
    controller.scheduler.epoch_step()
    controller.scheduler.epoch_step()
    again, other = create_compressed_model(task.model(), config(), controller.get_compression_state())
    other.load_state_dict(model.state_dict())
    assert again.compression_rate == controller.compression_rate
    assert again.scheduler.current_epoch == 1
    again.scheduler.epoch_step()
    assert again.compression_stage() == Stage.FULLY


def test_a_rate_is_set_within_its_bounds(task: Any) -> None:
    controller, _ = create_compressed_model(task.model(), config())
    controller.compression_rate = 0.75
    assert controller.statistics().achieved == 0.75
    with pytest.raises(CompressionError, match=r"0 to 0\.95"):
        controller.compression_rate = 0.99


def test_a_target_out_of_reach_is_said_before_training(task: Any) -> None:
    settings = config()
    settings["compression"][0]["params"]["target"] = 0.96
    with pytest.raises(CompressionError, match=r"rate of 0\.96, and can take at most 0\.95"):
        create_compressed_model(task.model(), settings)


@pytest.mark.parametrize(
    ("accuracy", "says"), [(0.0, "absolute degradation"), (-1.0, "absolute degradation"), (float("nan"), "it is nan")]
)
def test_a_baseline_without_a_share_is_refused(task: Any, accuracy: float, says: str) -> None:
    settings = config()
    params = settings["accuracy_aware_training"]["params"]
    params["maximal_relative_accuracy_degradation"] = 1.0
    del params["maximal_absolute_accuracy_degradation"]
    controller, _ = create_compressed_model(task.model(), settings)
    with pytest.raises(CompressionError, match=says):
        create_accuracy_aware_training_loop(settings, controller, accuracy)


def test_another_model_than_the_controllers_is_refused(task: Any) -> None:
    controller, _ = create_compressed_model(task.model(), config())
    loop = create_accuracy_aware_training_loop(config(), controller, 0.9)
    with pytest.raises(CompressionError, match="create_compressed_model returned"):
        loop.run(task.model(), task.train_epoch, task.validate)
    with pytest.raises(CompressionError, match="call run"):
        _ = loop.statistics


def test_a_configuration_without_a_loop_is_refused(task: Any) -> None:
    controller, _ = create_compressed_model(task.model(), config())
    with pytest.raises(CompressionError, match="asks for no loop"):
        create_accuracy_aware_training_loop({"compression": {"algorithm": "thinning"}}, controller, 0.9)


def test_added_parameters_learn_at_their_own_rate(task: Any) -> None:
    """`compression_lr_multiplier` changes the gradients of what algorithms add, and of nothing else."""

    class Gain(nn.Module):
        def __init__(self, layer: nn.Module) -> None:
            super().__init__()
            self.layer, self.gain = layer, nn.Parameter(torch.ones(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.gain * self.layer(x)

    model = task.model()
    known = {id(parameter) for parameter in model.parameters()}
    model[0] = Gain(model[0])
    _scale_gradients(model, known, 3.0)
    plain = task.model()
    plain[0] = Gain(plain[0])
    plain.load_state_dict(model.state_dict())
    torch.manual_seed(0)
    model(task.inputs).sum().backward()
    torch.manual_seed(0)
    plain(task.inputs).sum().backward()
    assert torch.allclose(model[0].gain.grad, 3 * plain[0].gain.grad)
    assert torch.allclose(model[3].weight.grad, plain[3].weight.grad)
