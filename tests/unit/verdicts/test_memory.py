"""Peak memory, against sums that can be done by hand."""

from __future__ import annotations

import torch
from torch import nn

from offramp.verdicts.memory import peak_bytes, visible

CPU = torch.device("cpu")


@torch.no_grad()
def test_weights_and_inputs_do_not_count_and_what_is_freed_is_gone():
    net = nn.Sequential(nn.Linear(10, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 1))
    x = torch.randn(8, 10)
    # At most a layer's input and its output are alive together.
    assert peak_bytes(lambda: net(x), CPU) == 2 * 8 * 100 * 4


@torch.no_grad()
def test_what_is_kept_counts():
    x = torch.randn(8, 10)

    def keeping() -> list[torch.Tensor]:
        return [x + i for i in range(5)]

    assert peak_bytes(keeping, CPU) == 5 * 8 * 10 * 4


@torch.no_grad()
def test_views_and_work_in_place_are_free():
    x = torch.randn(8, 10)
    assert peak_bytes(lambda: x.t().reshape(2, 40)[0].mul_(1.0).view(-1), CPU) == 8 * 10 * 4
    assert peak_bytes(lambda: x.t()[0].mul_(1.0), CPU) == 0


def test_where_it_can_be_seen():
    assert visible("eager", CPU)
    assert not visible("onnxruntime", CPU)
    assert not visible("compile", CPU)
    assert visible("compile", torch.device("cuda"))
