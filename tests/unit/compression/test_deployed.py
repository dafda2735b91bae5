"""Criteria of a network with exits: the accuracy under its policy, and at a budget of MACs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import offramp as ofr
from offramp import zoo
from offramp.compression import BudgetedAccuracy, DeployedAccuracy, EarlyExit, compress, create_compressed_model
from offramp.compression.algorithms import FilterPruning
from offramp.criteria import MaxProbability
from offramp.errors import CompressionError

PRUNING = FilterPruning(
    pruning_init=0.5, pruning_target=0.5, schedule="baseline", prune_first_conv=True, num_bn_adaptation_samples=0
)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model(images: torch.Tensor) -> ofr.ExitModel:
    torch.manual_seed(2)
    backbone = zoo.ResNetCifar(blocks=(1, 1), widths=(16, 16), strides=(1, 2), in_channels=1, num_classes=4)
    return ofr.attach(backbone, at=["layer1"], example=images[:1]).eval()


@pytest.fixture
def batches(model: ofr.ExitModel, images: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Labels that the last exit gives."""
    with torch.no_grad():
        labels = model(images)[-1].argmax(1)
    return [(images[:25], labels[:25]), (images[25:], labels[25:])]


def test_the_deployed_accuracy_is_that_of_the_runtime(model: ofr.ExitModel, batches: list) -> None:
    scores = ofr.record(model, batches).logits[0].softmax(1).amax(1)
    policy = ofr.Policy(MaxProbability(), [float(scores.median())])
    runtime = ofr.deploy(model, policy)
    right = sum(int((runtime(x).predictions == y).sum()) for x, y in batches)
    assert DeployedAccuracy(batches, policy)(model) == right / 40
    assert DeployedAccuracy(batches, ofr.always(exit=0))(model) == ofr.record(model, batches).correct[0].double().mean()


def test_a_larger_budget_is_never_less_accurate(model: ofr.ExitModel, batches: list) -> None:
    cheapest, plain = model.cost.macs[0], model.cost.macs[-1]
    found = [BudgetedAccuracy(batches, cheapest + share * (plain - cheapest))(model) for share in (0.0, 0.3, 0.6, 1.0)]
    assert found == sorted(found)
    assert found[-1] > found[0]


def test_what_compressing_saves_is_spent_on_later_exits(model: ofr.ExitModel, batches: list) -> None:
    """At a budget below the first exit of the plain network there is no policy; the pruned one reaches its last."""
    controller, compressed = create_compressed_model(model, PRUNING, example=batches[0][0])
    metric = BudgetedAccuracy(batches, 0.9 * model.cost.macs[0])
    with pytest.raises(CompressionError, match="Raise the budget"):
        metric(model)
    with pytest.raises(CompressionError, match="Raise the budget"):
        metric(compressed)
    small = controller.strip()
    assert isinstance(small, ofr.ExitModel)
    assert metric(compressed, controller=controller) == metric(small)


def test_a_model_without_exits_is_refused(batches: list) -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    with pytest.raises(CompressionError, match="Sequential takes no exits"):
        BudgetedAccuracy(batches, 1e6)(plain)


def test_the_loop_watches_the_network_at_its_budget(model: ofr.ExitModel, batches: list) -> None:
    metric = BudgetedAccuracy(batches, 1.1 * model.cost.macs[0])
    outcome = compress(
        model,
        PRUNING,
        loop=EarlyExit(maximal_total_epochs=1, maximal_absolute_accuracy_degradation=0.9),
        train_epoch=lambda *args, **kwargs: None,
        validate=metric,
        example=batches[0][0],
        progress=False,
    )
    assert outcome.statistics.uncompressed_accuracy == metric(model)
    assert outcome.statistics.compressed_accuracy == metric(outcome.strip())
