from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from offramp.compression.algorithms import Binarization, Stage, Workshop
from offramp.compression.layers import weight_in_use
from offramp.errors import CompressionError

MakeWorkshop = Callable[[nn.Module], Workshop]
AT_ONCE = {"activations_bin_start_epoch": 0, "weights_bin_start_epoch": 0}


def test_weights_have_the_published_two_values(residual: nn.Module, workshop_for: MakeWorkshop) -> None:
    weight = residual.inner[0].weight.detach().clone()
    Binarization(mode="xnor", **AT_ONCE).apply(residual, workshop_for(residual))
    size = weight.abs().mean((1, 2, 3), keepdim=True)
    assert torch.allclose(weight_in_use(residual.inner[0]), size * weight.sign(), atol=1e-6)


def test_dorefa_has_one_size_for_the_layer(residual: nn.Module, workshop_for: MakeWorkshop) -> None:
    Binarization(mode="dorefa", **AT_ONCE).apply(residual, workshop_for(residual))
    found = weight_in_use(residual.inner[0])
    assert len(found.unique()) == 2
    assert found.abs().mean() == pytest.approx(float(residual.inner[0].weight.detach().abs().mean()), rel=1e-5)


def test_inputs_have_two_values_that_are_learned(
    residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop
) -> None:
    settings = Binarization(**AT_ONCE, target_scopes=("inner",))
    binarizer = settings.apply(residual, workshop_for(residual))
    seen: list[Tensor] = []
    residual.inner[1].register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    residual.train()
    optimizer = torch.optim.SGD(residual.parameters(), lr=0.05)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(residual(images), torch.arange(12) % 4)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    step = residual.inner[0].input_transforms["binarization_of_inputs"]
    assert len(step(torch.randn(100)).unique()) == 2
    assert float(step.size.detach()) != 1.0
    assert float(step.threshold.detach()) != 0.5
    assert binarizer.stage is Stage.FULLY


def test_activations_begin_before_weights(residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop) -> None:
    plain = residual(images)
    binarizer = Binarization().apply(residual, workshop_for(residual))
    seen = []
    for epoch in range(4):
        binarizer.epoch_step(epoch)
        seen.append(binarizer.stage)
        if epoch == 0:
            assert torch.equal(residual(images), plain)
    assert seen == [Stage.UNCOMPRESSED, Stage.PARTLY, Stage.PARTLY, Stage.FULLY]
    assert binarizer.statistics().details == {"binary_weights": 1.0}


def test_baked_weights_keep_their_two_values(residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop) -> None:
    binarizer = Binarization(**AT_ONCE).apply(residual, workshop_for(residual))
    residual.train()(images)
    expected = residual.eval()(images)
    binarizer.bake(residual)
    copied = pickle.loads(pickle.dumps(binarizer.shrink(residual)))
    assert torch.allclose(copied(images), expected, atol=1e-5)
    assert all(len(filter.unique()) == 2 for filter in copied.inner[0].weight)


def test_a_model_without_convolutions_is_refused(workshop_for: MakeWorkshop) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    with pytest.raises(CompressionError, match="binarization finds no layer to work on"):
        Binarization().apply(model, workshop_for(model))
