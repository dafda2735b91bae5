from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from offramp.compression.algorithms import FilterPruning, RbSparsity, Stage, Workshop
from offramp.compression.layers import weight_in_use
from offramp.errors import CompressionError

MakeWorkshop = Callable[[nn.Module], Workshop]
AT_ONCE = {"sparsity_init": 0.6, "sparsity_target": 0.6, "sparsity_target_epoch": 0, "sparsity_freeze_epoch": 3}


def train(model: nn.Module, images: Tensor, sparsifier: object, steps: int) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model.train()(images), torch.arange(12) % 4) + sparsifier.loss()
        loss.backward()
        optimizer.step()
    model.eval()


@pytest.mark.parametrize("mode", ["global", "local"])
def test_the_penalty_drives_the_rate_to_its_target(
    residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop, mode: str
) -> None:
    settings = RbSparsity(**AT_ONCE, sparsity_level_setting_mode=mode)
    sparsifier = settings.apply(residual, workshop_for(residual))
    assert sparsifier.statistics().achieved == 0.0
    assert sparsifier.stage is Stage.UNCOMPRESSED
    train(residual, images, sparsifier, 100)
    said = sparsifier.statistics()
    assert said.nominal == 0.6
    assert said.achieved == pytest.approx(0.6, abs=0.05)
    assert sparsifier.stage is Stage.FULLY
    expected = residual(images)
    sparsifier.bake(residual)
    weights = [m.weight for m in residual.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    zeros = sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)
    assert zeros == pytest.approx(said.achieved)
    assert torch.equal(residual(images), expected)


def test_the_penalty_is_the_published_one(residual: nn.Module, workshop_for: MakeWorkshop) -> None:
    sparsifier = RbSparsity(**AT_ONCE).apply(residual, workshop_for(residual))
    assert float(sparsifier.loss().detach()) == pytest.approx(((1.0 - 0.4) / 0.05) ** 2)
    sparsifier.set_rate(0.6)
    assert float(sparsifier.loss().detach()) == pytest.approx(0.0, abs=1e-3)


def test_masks_are_drawn_anew_in_training_and_fixed_in_evaluation(
    residual: nn.Module, workshop_for: MakeWorkshop
) -> None:
    RbSparsity().apply(residual, workshop_for(residual))
    layer = residual.train().inner[0]
    first, second = weight_in_use(layer) == 0, weight_in_use(layer) == 0
    assert 0 < first.float().mean() < 0.03
    assert not torch.equal(first, second)
    assert not (weight_in_use(residual.eval().inner[0]) == 0).any()


def test_a_rate_that_is_set_is_achieved_at_once_and_small_weights_go(
    residual: nn.Module, workshop_for: MakeWorkshop
) -> None:
    sparsifier = RbSparsity().apply(residual, workshop_for(residual))
    for rate in (0.7, 0.3):
        sparsifier.set_rate(rate)
        assert sparsifier.statistics().achieved == pytest.approx(rate, abs=0.01)
    layer = residual.inner[0]
    gone = weight_in_use(layer) == 0
    assert gone.any()
    assert layer.weight[gone].abs().max() <= layer.weight[~gone].abs().min()
    with pytest.raises(CompressionError, match="must be from 0 to 1"):
        sparsifier.set_rate(-0.1)


def test_a_frozen_mask_neither_changes_nor_costs(
    residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop
) -> None:
    sparsifier = RbSparsity(**AT_ONCE).apply(residual, workshop_for(residual))
    sparsifier.set_rate(0.5)
    sparsifier.epoch_step(3)
    assert sparsifier.loss() == 0.0
    before = weight_in_use(residual.inner[0]) == 0
    train(residual, images, sparsifier, 3)
    assert torch.equal(weight_in_use(residual.train().inner[0]) == 0, before)


def test_the_adaptive_schedule_waits_until_the_rate_is_achieved(
    residual: nn.Module, workshop_for: MakeWorkshop
) -> None:
    settings = RbSparsity(sparsity_init=0.2, schedule="adaptive", patience=1)
    sparsifier = settings.apply(residual, workshop_for(residual))
    sparsifier.epoch_step(0)
    assert sparsifier.rate == 0.2
    sparsifier.set_rate(0.2)
    sparsifier.fixed = False
    sparsifier.epoch_step(1)
    assert sparsifier.rate == pytest.approx(0.25)


def test_the_state_is_restored(residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop) -> None:
    other = copy.deepcopy(residual)
    first = RbSparsity(**AT_ONCE).apply(residual, workshop_for(residual))
    second = RbSparsity(**AT_ONCE).apply(other, workshop_for(other))
    first.set_rate(0.5)
    first.epoch_step(5)
    other.load_state_dict(residual.state_dict())
    second.load_state_dict(first.state_dict())
    assert torch.equal(other(images), residual(images))
    assert second.loss() == first.loss() == 0.0


def test_it_goes_with_pruning(residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop) -> None:
    workshop = workshop_for(residual)
    pruner = FilterPruning(pruning_init=0.5, prune_downsample_convs=True).apply(residual, workshop)
    sparsifier = RbSparsity(**AT_ONCE).apply(residual, workshop)
    sparsifier.set_rate(0.5)
    expected = residual.eval()(images)
    sparsifier.bake(residual)
    pruner.bake(residual)
    assert torch.allclose(pruner.shrink(residual)(images), expected, atol=1e-5)
