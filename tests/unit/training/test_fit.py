from __future__ import annotations

import copy
import pickle
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from tiny_problem import CLASSES, Clusters, TinyExits, train_loader, val_loader
from torch import Tensor, nn

import offramp as ofr
import offramp.training  # accelerate's import draws from Python's generator
from offramp.regimes import Phase, Regime, WeightedCrossEntropy, register
from offramp.regimes.regime import REGIMES


def trained(**options: object) -> tuple[TinyExits, ofr.History]:
    model = TinyExits()
    arguments = {"epochs": 4, "progress": False, "device": "cpu", "val": val_loader(), **options}
    return model, ofr.fit(model, arguments.pop("train", None) or train_loader(), **arguments)  # type: ignore[arg-type]


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def evaluate(model: TinyExits, samples: int = 50) -> tuple[list[float], list[float]]:
    data = Clusters(samples, seed=2)
    with torch.no_grad():
        logits = model(data.inputs)
    loss = [F.cross_entropy(z, data.labels).item() for z in logits]
    return loss, [(z.argmax(1) == data.labels).double().mean().item() for z in logits]


def test_losses_fall_and_every_exit_learns():
    _, history = trained(epochs=6)
    first, last = history.rows[0], history.rows[-1]
    assert all(b < a for a, b in zip(first.train.loss, last.train.loss, strict=True))
    assert min(last.val.accuracy) > 1.5 / CLASSES


def test_history_has_one_row_per_epoch_over_all_samples():
    _, history = trained(epochs=3)
    assert [row.epoch for row in history.rows] == [1, 2, 3]
    assert {row.phase for row in history.rows} == {"joint"}
    assert {row.train.samples for row in history.rows} == {96}
    assert {row.val.samples for row in history.rows} == {50}
    assert {len(row.val.accuracy) for row in history.rows} == {3}
    assert history.stopped == "epochs"


def test_validation_is_weighted_by_samples_and_in_evaluation_mode():
    # 50 samples in batches of 16 leave a last batch of 2: a mean of batch means would differ.
    model, history = trained(epochs=1)
    loss, accuracy = evaluate(model)
    assert history.rows[0].val.loss == pytest.approx(loss, rel=1e-6)
    assert history.rows[0].val.accuracy == pytest.approx(accuracy)


def test_the_model_ends_with_the_best_epochs_weights():
    model, history = trained(epochs=8, lr=0.8, schedule="constant")
    best = max(history.rows, key=lambda row: (row.val.mean_accuracy, -row.epoch))
    assert history.best_epoch == best.epoch < 8
    assert evaluate(model)[1] == pytest.approx(best.val.accuracy)


def test_without_validation_the_last_weights_stay():
    model, history = trained(val=None, epochs=2)
    assert history.best_epoch is None
    assert history.rows[-1].val is None
    again, _ = trained(epochs=2, val=None)
    assert same_weights(model, again)


def test_the_model_is_the_callers_own_and_in_evaluation_mode():
    model, _ = trained(epochs=1)
    assert not any(module.training for module in model.modules())
    assert all(p.grad is None for p in model.parameters())
    assert "forward" not in model.__dict__
    assert same_weights(pickle.loads(pickle.dumps(model)), model)
    assert same_weights(copy.deepcopy(model), model)


def test_seed_alone_decides_the_outcome():
    torch.manual_seed(1)
    one, first = trained(seed=5)
    torch.manual_seed(2)
    two, second = trained(seed=5)
    other, _ = trained(seed=6)
    assert same_weights(one, two)
    assert first == second
    assert not same_weights(one, other)


def test_the_callers_random_state_is_kept():
    generator = torch.Generator().manual_seed(3)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate(), generator.get_state()
    trained(train=train_loader(generator=generator))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]
    assert torch.equal(generator.get_state(), states[3])


def test_one_step_is_the_step_written_by_hand():
    batch = next(iter(val_loader(batch_size=50)))
    model, by_hand = TinyExits(), TinyExits()
    by_hand.first[3].p = model.first[3].p = 0.0
    ofr.fit(model, [batch], epochs=1, lr=0.05, device="cpu", progress=False, regime=ofr.regimes.Joint([0.3, 0.3]))
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
    logits = by_hand.train()(batch[0])
    a, b, c = (F.cross_entropy(z, batch[1]) for z in logits)
    (0.3 * a + 0.3 * b + 0.4 * c).backward()
    optimizer.step()
    for mine, theirs in zip(model.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_patience_stops_and_restores():
    _, history = trained(epochs=12, patience=2, lr=0.8, schedule="constant")
    assert history.stopped == "patience"
    best = max(history.rows, key=lambda row: (row.val.mean_accuracy, -row.epoch))
    assert history.best_epoch == best.epoch
    assert len(history.rows) < 12
    # Every exit had its own best epoch at least two epochs ago, and one of them exactly two.
    peaks = [max(history.rows, key=lambda row, k=k: (row.val.accuracy[k], -row.epoch)).epoch for k in range(3)]
    assert max(peaks) + 2 == len(history.rows)


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_learning_rates_follow_the_schedule(schedule: str):
    _, history = trained(epochs=4, lr=0.1, schedule=schedule)
    expected = {"cosine": [0.1, 0.0853553, 0.05, 0.0146447], "step": [0.1, 0.1, 0.01, 0.001], "constant": [0.1] * 4}
    assert [row.lr for row in history.rows] == pytest.approx(expected[schedule], rel=1e-5)


def test_an_optimizer_of_ones_own():
    seen: list[int] = []

    def rmsprop(parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        seen.append(len(list(parameters)))
        return torch.optim.RMSprop(parameters, lr=1e-3)

    model, history = trained(optimizer=rmsprop, epochs=2)
    assert seen == [len(list(model.parameters()))]
    assert history.rows[0].lr == pytest.approx(1e-3)
    assert not same_weights(model, TinyExits())


def test_frozen_parameters_stay():
    model = TinyExits()
    model.second.requires_grad_(False)
    before = copy.deepcopy(model.second)
    ofr.fit(model, train_loader(), epochs=1, device="cpu", progress=False)
    assert same_weights(model.second, before)
    assert not same_weights(model.first, TinyExits().first)


def test_batches_may_be_any_iterable_without_length():
    class Endless:
        def __iter__(self):
            return iter(list(val_loader()))

    _, history = trained(train=Endless(), epochs=2, lr=0.1)
    assert history.rows[0].train.samples == 50
    assert [row.lr for row in history.rows] == pytest.approx([0.1, 0.05])


def test_dict_batches_reach_the_model_as_they_are():
    class Named(TinyExits):
        def forward(self, inputs: dict[str, Tensor]) -> list[Tensor]:
            return super().forward(inputs["x"])

    batches = [{"x": x, "labels": y} for x, y in val_loader()]
    history = ofr.fit(Named(), batches, epochs=1, device="cpu", progress=False)
    assert history.rows[0].train.samples == 50


def test_many_fits_in_one_process_with_other_precisions():
    _, wide = trained(epochs=1, precision="fp32")
    _, narrow = trained(epochs=1, precision="bf16")
    _, again = trained(epochs=1, precision="fp32")
    assert wide == again
    assert wide != narrow


def test_half_precision_losses_and_weights_are_wide():
    model, history = trained(epochs=2, precision="bf16")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert history.rows[1].train.loss[0] < history.rows[0].train.loss[0]


def test_an_accelerator_of_the_callers_survives():
    mine = Accelerator(cpu=True, mixed_precision="bf16")
    trained(epochs=1, precision="fp32")
    assert mine.mixed_precision == "bf16"
    assert mine.device.type == "cpu"


class TinyConvolution(nn.Module):
    exits = 1

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.orders: list[bool] = []

    def forward(self, inputs: Tensor) -> list[Tensor]:
        self.orders.append(inputs.is_contiguous(memory_format=torch.channels_last))
        return [self.convolution(inputs).mean((2, 3))]


def test_channels_last_changes_the_order_and_not_the_function():
    batches = [(torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(k)), torch.arange(4)) for k in range(3)]
    models = []
    for channels_last in (False, True):
        torch.manual_seed(0)
        models.append(TinyConvolution())
        ofr.fit(models[-1], batches, epochs=2, channels_last=channels_last, device="cpu", progress=False)
    assert all(models[1].orders)
    assert not any(models[0].orders)
    for plain, last in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(plain, last)


@dataclass(frozen=True)
class FirstThenLast(Regime):
    """Trains on the first exit's loss, then on the last one's."""

    def phases(self, model_exits: int, epochs: int) -> tuple[Phase, ...]:
        return (
            Phase("first", 1, WeightedCrossEntropy((1.0, 0.0, 0.0))),
            Phase("last", epochs - 1, WeightedCrossEntropy((0.0, 0.0, 1.0))),
        )


@pytest.fixture
def two_phases():
    register(FirstThenLast)
    yield FirstThenLast()
    REGIMES._members.pop("first_then_last")


def test_phases_follow_each_other_with_a_fresh_schedule(two_phases: Regime):
    _, history = trained(regime=two_phases, epochs=3, lr=0.1)
    assert [row.phase for row in history.rows] == ["first", "last", "last"]
    assert [row.lr for row in history.rows] == pytest.approx([0.1, 0.1, 0.05])
    assert history.best_epoch > 1


def test_a_phase_that_runs_out_of_patience_makes_room_for_the_next(two_phases: Regime):
    _, history = trained(regime=two_phases, epochs=15, patience=1, lr=0.8, schedule="constant")
    assert [row.phase for row in history.rows][:2] == ["first", "last"]
    assert history.stopped == "patience"


def test_fit_is_part_of_the_public_surface():
    assert ofr.fit is sys.modules["offramp.training"].fit
    assert ofr.History.__module__.startswith("offramp.training")


def test_an_attached_model_trains_in_place_and_resumes(tmp_path):
    def attached() -> ofr.ExitModel:
        torch.manual_seed(0)
        backbone = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)
        )
        backbone(torch.zeros(1, 1, 8, 8))
        return ofr.attach(backbone, at=["1"], example=torch.zeros(2, 1, 8, 8), num_classes=3)

    generator = torch.Generator().manual_seed(0)
    batches = [(torch.randn(12, 1, 8, 8, generator=generator), torch.arange(12) % 3) for _ in range(4)]
    model = attached()
    backbone = model.backbone
    history = ofr.fit(model, batches, val=batches, epochs=4, lr=0.05, device="cpu", progress=False, out=tmp_path)
    assert model.backbone is backbone
    assert len(history.rows[0].val.loss) == model.exits == 2
    assert all(b < a for a, b in zip(history.rows[0].val.loss, history.rows[-1].val.loss, strict=True))
    again = attached()
    resumed = ofr.fit(
        again, batches, val=batches, epochs=4, lr=0.05, device="cpu", progress=False, out=tmp_path, resume=True
    )
    assert resumed == history
    assert same_weights(again, model)
    torch.testing.assert_close(copy.deepcopy(model)(batches[0][0]), model(batches[0][0]))
