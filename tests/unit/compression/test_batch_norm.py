from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from offramp.compression.batch_norm import adapt_batch_norms
from offramp.errors import CompressionError


def batches(images: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(images[k : k + 4], torch.zeros(4)) for k in (0, 4, 8)]


def test_statistics_become_those_of_the_data(images: Tensor) -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, momentum=0.3), nn.Dropout(0.5)).eval()
    model[1].running_mean.fill_(50.0)
    seen = adapt_batch_norms(model, batches(images), samples=10)
    maps = [model[0](x) for x, _ in batches(images)]
    assert seen == 12
    assert torch.allclose(model[1].running_mean, torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0), atol=1e-6)
    variances = torch.stack([m.transpose(0, 1).flatten(1).var(1) for m in maps]).mean(0)
    assert torch.allclose(model[1].running_var, variances, atol=1e-5)


def test_nothing_else_changes(images: Tensor) -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, momentum=0.3), nn.Dropout(0.5))
    model[1].eval()
    modes = [m.training for m in model.modules()]
    weights = [p.detach().clone() for p in model.parameters()]
    state = torch.get_rng_state()
    adapt_batch_norms(model, batches(images), samples=4)
    assert modes == [m.training for m in model.modules()]
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    assert model[1].momentum == 0.3
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())


def test_it_stops_at_enough_samples(images: Tensor) -> None:
    model = nn.BatchNorm2d(1)
    assert adapt_batch_norms(model, batches(images), samples=4) == 4
    assert model.num_batches_tracked == 1


def test_models_without_norms_and_zero_samples_read_no_data() -> None:
    def unreadable() -> object:
        raise AssertionError("read")
        yield

    assert adapt_batch_norms(nn.Linear(2, 2), unreadable(), samples=5) == 0
    assert adapt_batch_norms(nn.BatchNorm1d(2), unreadable(), samples=0) == 0


def test_no_data_is_an_error() -> None:
    with pytest.raises(CompressionError, match="cannot be adapted to 5 samples: there are no batches"):
        adapt_batch_norms(nn.BatchNorm1d(2), [], samples=5)
