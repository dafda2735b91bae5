from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from offramp.compression.algorithms import MovementSparsity, Stage, Workshop
from offramp.compression.layers import weight_in_use
from offramp.errors import CompressionError

MakeWorkshop = Callable[[nn.Module], Workshop]
SETTINGS = {"warmup_start_epoch": 1, "warmup_end_epoch": 3, "importance_regularization_factor": 0.05}


class Feedforward(nn.Module):
    """A residual multilayer perceptron with hidden neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(64, 16)
        self.widen = nn.Linear(16, 48)
        self.narrow = nn.Linear(48, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.flatten(1))
        return self.head(x + self.narrow(nn.functional.gelu(self.widen(x))))


@pytest.fixture
def model() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Feedforward().eval()


def train(model: nn.Module, images: Tensor, sparsifier: object, steps: int = 20) -> None:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model.train()(images), torch.arange(12) % 4) + sparsifier.loss()
        loss.backward()
        optimizer.step()
    model.eval()


def test_weights_go_during_the_warm_up_and_masks_are_frozen_after_it(
    model: nn.Module, images: Tensor, workshop_for: MakeWorkshop
) -> None:
    sparsifier = MovementSparsity(**SETTINGS).apply(model, workshop_for(model))
    seen = []
    for epoch in range(5):
        sparsifier.epoch_step(epoch)
        train(model, images, sparsifier)
        seen.append((sparsifier.stage, sparsifier.statistics().achieved))
    assert [stage for stage, _ in seen] == [
        Stage.UNCOMPRESSED,
        Stage.UNCOMPRESSED,
        Stage.PARTLY,
        Stage.FULLY,
        Stage.FULLY,
    ]
    rates = [rate for _, rate in seen]
    assert rates[0] == 0.0
    assert rates[0] <= rates[1] < rates[2] < rates[3] == rates[4]
    assert 0.1 < rates[4] < 0.99
    assert sparsifier.loss() == 0.0


def test_a_score_falls_where_training_moves_its_weight_towards_zero(
    model: nn.Module, images: Tensor, workshop_for: MakeWorkshop
) -> None:
    MovementSparsity(**SETTINGS).apply(model, workshop_for(model))
    nn.functional.cross_entropy(model.train()(images), torch.arange(12) % 4).backward()
    layer = model.embed
    towards_zero = layer.weight.grad * layer.weight.detach() > 0
    scores = layer.weight_transforms["movement_sparsity"].scores
    assert torch.equal(scores.grad > 0, towards_zero)


def test_the_threshold_follows_the_published_polynomial(model: nn.Module, workshop_for: MakeWorkshop) -> None:
    settings = MovementSparsity(**SETTINGS, init_importance_threshold=-1.0, steps_per_epoch=2)
    sparsifier = settings.apply(model, workshop_for(model))
    mask = model.embed.weight_transforms["movement_sparsity"]
    sparsifier.epoch_step(0)
    assert mask.threshold == -torch.inf
    sparsifier.epoch_step(1)
    sparsifier.step()
    sparsifier.step()
    assert float(mask.threshold) == pytest.approx(-1.0 * (1 - 0.25) ** 3)


def test_neurons_of_no_use_are_removed(model: nn.Module, images: Tensor, workshop_for: MakeWorkshop) -> None:
    sparsifier = MovementSparsity(**SETTINGS).apply(model, workshop_for(model))
    with torch.no_grad():
        model.widen.weight_transforms["movement_sparsity"].scores[:20] = -1.0  # nobody makes them
        model.narrow.weight_transforms["movement_sparsity"].scores[:, 20:30] = -1.0  # nobody reads them
    sparsifier.epoch_step(3)
    assert not weight_in_use(model.narrow)[:, :30].any()
    assert not weight_in_use(model.widen)[:30].any()
    expected = model(images)
    sparsifier.bake(model)
    small = sparsifier.shrink(model)
    assert torch.allclose(small(images), expected, atol=1e-5)
    assert small.widen.out_features == small.narrow.in_features == 18


def test_masking_without_structure_removes_nothing(
    model: nn.Module, images: Tensor, workshop_for: MakeWorkshop
) -> None:
    settings = MovementSparsity(**SETTINGS, enable_structured_masking=False)
    sparsifier = settings.apply(model, workshop_for(model))
    sparsifier.set_rate(0.9)
    expected = model(images)
    sparsifier.bake(model)
    small = sparsifier.shrink(model)
    assert torch.equal(small(images), expected)
    assert small.widen.out_features == 48


def test_a_rate_that_is_set_is_achieved(model: nn.Module, workshop_for: MakeWorkshop) -> None:
    sparsifier = MovementSparsity(**SETTINGS).apply(model, workshop_for(model))
    for rate in (0.8, 0.0, 0.4):
        sparsifier.set_rate(rate)
        assert sparsifier.statistics().achieved == pytest.approx(rate, abs=0.01)
        assert sparsifier.stage is Stage.FULLY


def test_the_state_is_restored(model: nn.Module, images: Tensor, workshop_for: MakeWorkshop) -> None:
    other = copy.deepcopy(model)
    first, second = (MovementSparsity(**SETTINGS).apply(m, workshop_for(m)) for m in (model, other))
    first.epoch_step(1)
    train(model, images, first)
    first.epoch_step(3)
    other.load_state_dict(model.state_dict())
    second.load_state_dict(first.state_dict())
    assert torch.equal(other(images), model(images))
    assert second.statistics() == first.statistics()
    assert not other.embed.weight_transforms["movement_sparsity"].scores.requires_grad


def test_a_warm_up_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(CompressionError, match="warmup_end_epoch must be above warmup_start_epoch=3; it is 3"):
        MovementSparsity(warmup_start_epoch=3, warmup_end_epoch=3, importance_regularization_factor=0.1)
