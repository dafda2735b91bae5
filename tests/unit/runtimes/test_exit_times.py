"""Measured times of leaving at each exit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import offramp as ofr
from offramp.errors import InputError
from offramp.runtimes.exit_times import _times


def test_times_add_up_from_what_was_measured() -> None:
    seconds = {"leave 0": 3.0, "leave 1": 5.0, "leave 2": 9.0, "pass 0": 9.5, "pass 1": 8.9}
    times = _times(seconds, 3, batch=4, device="cpu")
    assert times.head_seconds == (0.5, 0.0)
    assert times.seconds == (3.0, 5.5, 9.5)
    assert times.plain == 9.0


def test_every_exit_has_a_time(tiny_resnet: Any) -> None:
    model = tiny_resnet.attach()
    times = ofr.exit_times(model, tiny_resnet.batch(8), batch=4, rounds=3)
    assert len(times.seconds) == model.exits
    assert min(times.seconds) > 0
    assert (times.batch, times.device) == (4, "cpu")
    assert ofr.goals.LatencyBudget(times, share=0.9).cost(recorded(model)) == times.cost


def recorded(model: ofr.ExitModel) -> ofr.Recording:
    return ofr.Recording(torch.zeros(model.exits, 2, 3), None, model.cost.macs, model.cost.head_macs)


@pytest.mark.parametrize("batch", [0, 9])
def test_the_batch_must_be_there(tiny_mlp: Any, batch: int) -> None:
    with pytest.raises(InputError, match=f"batch={batch}.*there are 8 rows"):
        ofr.exit_times(tiny_mlp.attach(), tiny_mlp.batch(8), batch=batch)
