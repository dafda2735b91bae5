from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_problem import TinyExits, train_loader, val_loader
from torch import Tensor, nn

import offramp as ofr
from offramp.errors import TrainingError
from offramp.training import TrainingOptions


def fit(model: nn.Module | None = None, train: Any = None, **options: Any) -> ofr.History:
    arguments = {"epochs": 1, "device": "cpu", "progress": False, **options}
    return ofr.fit(model or TinyExits(), train_loader() if train is None else train, **arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs=0 must be a whole number of at least 1"),
        ({"epochs": 1.5}, "epochs=1.5 must be a whole number"),
        ({"epochs": True}, "epochs=True must be a whole number"),
        ({"seed": -1}, "seed=-1 must be a whole number of at least 0"),
        ({"lr": 0.0}, "lr=0.0 must be a number above 0"),
        ({"lr": -1}, "lr=-1 must be a number above 0"),
        ({"lr": float("nan")}, "lr=nan must be a number above 0"),
        ({"optimizer": "sdg"}, r"optimizer='sdg' is unknown; allowed: 'sgd', 'adamw' \(closest: 'sgd'\)"),
        ({"optimizer": 3}, "optimizer=3 must be a name or a callable"),
        ({"optimizer": torch.optim.SGD, "lr": 0.1}, "lr=0.1 cannot be given with an optimizer of your own"),
        ({"schedule": "cosin"}, "schedule='cosin' is unknown; allowed: 'cosine', 'step', 'constant'"),
        ({"precision": "int8"}, "precision='int8' is unknown; allowed: 'auto', 'fp32', 'bf16', 'fp16'"),
        ({"device": "cuba"}, "device='cuba' must be 'auto' or a torch device"),
        ({"momentum": 1.0}, "momentum=1.0 must be at least 0 and below 1"),
        ({"momentum": 0.0}, "nesterov=True needs momentum above 0"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1 must be a number of at least 0"),
        ({"warmup": -1}, "warmup=-1 must be a number of epochs"),
        ({"warmup": 9}, "warmup=9 is longer than epochs=1"),
        ({"patience": 0}, "patience=0 must be None or a whole number"),
        ({"patience": 2}, "patience=2, which needs val="),
        ({"resume": True}, "resume=True needs out="),
        ({"out": 7}, r"out=7\): give a folder's path"),
        ({"regime": "joint"}, r"regime='joint'\): give an instance from offramp.regimes"),
        ({"precision": "fp16"}, "'fp16'.* needs a GPU"),
        ({"device": "cuda:97"}, "there is no such device here"),
    ],
)
def test_impossible_options_are_named(options: dict[str, Any], message: str):
    with pytest.raises(TrainingError, match=message):
        fit(**options)


def test_all_problems_are_told_at_once():
    with pytest.raises(TrainingError, match=r"epochs=0.*seed=-2.*lr=0.*schedule='none'"):
        TrainingOptions(epochs=0, seed=-2, lr=0, schedule="none")


@pytest.mark.parametrize("name", ["train", "val"])
def test_an_empty_loader_is_named_before_anything_starts(tmp_path: Path, name: str):
    with pytest.raises(TrainingError, match=f"{name}.*is empty: it has 0 batches"):
        fit(**{name: []}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["train", "val"])
def test_an_iterator_without_batches_is_named(name: str):
    with pytest.raises(TrainingError, match=r"gave no batch .*epoch 1"):
        fit(**{name: iter(())})


def test_a_generator_that_is_used_up_is_named():
    with pytest.raises(TrainingError, match=r"gave no batch \(training, epoch 2\).*used up"):
        fit(train=(batch for batch in train_loader()), epochs=2)


def test_a_loader_must_be_iterable():
    with pytest.raises(TrainingError, match=r"train_loader=int\)"):
        fit(train=3)


@pytest.mark.parametrize(("label", "classes"), [(3, 4), (7, 8)])
def test_a_label_that_is_too_large_is_named(label: int, classes: int):
    batch = torch.randn(3, 8), torch.tensor([0, label, 1])
    with pytest.raises(
        TrainingError, match=rf"Label {label} is out of range \(training, epoch 1\).* 3 classes.*0 to 2"
    ) as e:
        fit(train=[batch])
    assert f"num_classes={classes}" in str(e.value)


def test_a_negative_label_in_validation_is_named():
    with pytest.raises(TrainingError, match=r"Label -1 is out of range \(validation, epoch 1\)"):
        fit(val=[(torch.randn(2, 8), torch.tensor([0, -1]))])


def test_a_batch_without_labels_is_named():
    with pytest.raises(TrainingError, match=r"no labels \(training, epoch 1\)"):
        fit(train=[torch.randn(3, 8)])


@pytest.mark.parametrize("labels", [torch.tensor([0.0, 1.0]), torch.zeros(2, 3, dtype=torch.long)])
def test_labels_that_are_no_class_indices_are_named(labels: Tensor):
    with pytest.raises(TrainingError, match=r"class indices of shape \[n\]"):
        fit(train=[(torch.randn(2, 8), labels)])


def test_an_empty_batch_is_named():
    with pytest.raises(TrainingError, match="no samples"):
        fit(val=[(torch.zeros(0, 8), torch.zeros(0, dtype=torch.long))])


def test_a_model_without_exits_is_named():
    with pytest.raises(TrainingError, match=r"fit\(model=Linear\).*offramp.attach"):
        fit(model=nn.Linear(8, 3))


def test_logits_of_another_shape_are_named():
    class Wrong(TinyExits):
        def forward(self, inputs: Tensor) -> list[Tensor]:
            return super().forward(inputs)[:2]

    with pytest.raises(TrainingError, match=r"list of 3 logits of shape \[16, classes\].*\[\[16, 3\], \[16, 3\]\]"):
        fit(model=Wrong())


def test_a_model_that_cannot_learn_is_named():
    with pytest.raises(TrainingError, match="requires_grad=True"):
        fit(model=TinyExits().requires_grad_(False))


def test_the_number_of_weights_is_checked_against_the_model():
    with pytest.raises(TrainingError, match="1 weights, the model has 2 early exits"):
        fit(regime=ofr.regimes.Joint([0.5]))


def test_a_folder_that_cannot_be_written_is_named_before_training(tmp_path: Path):
    (tmp_path / "file").write_text("")
    model = TinyExits()
    with pytest.raises(TrainingError, match=r"file/run'.* cannot be written .*Choose another folder"):
        fit(model, out=tmp_path / "file" / "run")
    assert torch.equal(model.first[0].weight, TinyExits().first[0].weight)


def test_workers_with_a_memory_are_refused_where_the_run_is_resumable(tmp_path: Path):
    loader = train_loader(num_workers=1, persistent_workers=True)
    with pytest.raises(TrainingError, match="persistent_workers=False"):
        fit(train=loader, out=tmp_path)


@pytest.mark.parametrize(("poison", "value"), [(float("nan"), "nan"), (float("inf"), "inf|nan")])
def test_a_diverged_loss_names_epoch_step_and_exit_and_keeps_the_checkpoint(tmp_path: Path, poison: float, value: str):
    class Diverging(TinyExits):
        steps = 0

        def forward(self, inputs: Tensor) -> list[Tensor]:
            first, second, third = super().forward(inputs)
            self.steps += self.training
            return [first, second * (poison if self.steps == 6 + 4 else 1), third]

    with pytest.raises(TrainingError, match=rf"became ({value}) at exit 1 \(training, epoch 2, step 4\)"):
        fit(model=Diverging(), epochs=3, out=tmp_path)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert len(saved["state"]["rows"]) == 1
    assert all(value.isfinite().all() for value in saved["model"].values())


def test_a_long_epoch_notices_divergence_before_its_end():
    seen: list[int] = []
    good, bad = next(iter(val_loader())), (torch.full((4, 8), float("nan")), torch.zeros(4, dtype=torch.long))

    def batches():
        for step in range(1000):
            seen.append(step)
            yield bad if step == 10 else good

    with pytest.raises(TrainingError, match="epoch 1, step 11"):
        fit(train=batches())
    assert len(seen) < 100


def test_a_callable_must_make_an_optimizer():
    with pytest.raises(TrainingError, match="returned int; it must return a torch Optimizer"):
        fit(optimizer=lambda parameters: 3)
