from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import offramp as ofr
from offramp.cli.steps.speed import measure_speed, representative
from offramp.reporters.results import Source


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=60),
    st.integers(1, 60),
    st.integers(0, 10),
)
def test_timed_samples_leave_like_all(exits: list[int], count: int, seed: int) -> None:
    taken, count = torch.tensor(exits), min(count, len(exits))
    rows = representative(taken, count, 4, seed)
    assert len(rows) == len(set(rows.tolist())) == count
    exact = torch.bincount(taken, minlength=4).double() * count / len(exits)
    counts = torch.bincount(taken[rows], minlength=4)
    assert bool(((counts - exact).abs() < 1).all())
    assert torch.equal(rows, representative(taken, count, 4, seed))


def test_both_networks_are_timed_on_the_same_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    model = ofr.attach(backbone, at=["1"], example=torch.zeros(1, 3)).eval()
    inputs = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
    exits = (torch.arange(300) % 4 == 0).long()
    monkeypatch.setattr("offramp.cli.steps.speed.ROUNDS", 2)
    found = measure_speed(model, ofr.always(exit=0), inputs, exits, Source("test", 300, 0, "cpu"))
    assert [(speed.batch, speed.source.samples) for speed in found] == [(1, 64), (256, 256)]
    for speed in found:
        assert speed.shares == pytest.approx((0.75, 0.25))
        assert speed.rounds == 2
        assert speed.ratio == pytest.approx(speed.exits.median / speed.plain.median)
