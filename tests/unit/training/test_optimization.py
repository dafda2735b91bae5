from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from offramp.training import TrainingOptions
from offramp.training.optimization import Schedule, describe, make_optimizer


@given(st.integers(1, 50), st.floats(0, 1), st.floats(0, 1))
def test_cosine_and_step_never_rise_and_stay_in_range(epochs: int, a: float, b: float):
    early, late = sorted((a * epochs, b * epochs))
    for kind in ("cosine", "step", "constant"):
        schedule = Schedule(kind, epochs)
        assert 1 >= schedule.factor(early) >= schedule.factor(late) >= 0


def test_cosine_ends_at_zero_and_is_half_way_at_half_time():
    schedule = Schedule("cosine", epochs=10)
    assert [schedule.factor(t) for t in (0, 5, 10)] == pytest.approx([1, 0.5, 0])


def test_step_falls_at_half_and_three_quarters():
    schedule = Schedule("step", epochs=8)
    assert [schedule.factor(t) for t in (3.99, 4, 5.99, 6)] == pytest.approx([1, 0.1, 0.1, 0.01])


def test_warmup_rises_linearly_and_never_wastes_a_step():
    schedule = Schedule("constant", epochs=4, warmup=1)
    quarters = [schedule.factor(t, step=0.25) for t in (0, 0.25, 0.5, 0.75, 1)]
    assert quarters == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_apply_keeps_the_groups_apart():
    model = nn.Linear(2, 2)
    groups = [{"params": [model.weight], "lr": 1.0}, {"params": [model.bias], "lr": 0.1}]
    options = TrainingOptions(optimizer=lambda _: torch.optim.SGD(groups))
    optimizer = make_optimizer(model.parameters(), options)
    for _ in range(2):
        Schedule("cosine", epochs=2).apply(optimizer, epochs_done=1, step=0.1)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.5, 0.05])


@pytest.mark.parametrize(
    ("options", "kind", "expected"),
    [
        ({}, "SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True}),
        ({"optimizer": "adamw"}, "AdamW", {"lr": 1e-3, "weight_decay": 5e-4}),
        ({"lr": 0.3, "momentum": 0.0, "nesterov": False}, "SGD", {"lr": 0.3, "momentum": 0.0, "nesterov": False}),
    ],
)
def test_named_optimizers_get_their_options(options: dict[str, object], kind: str, expected: dict[str, object]):
    optimizer = make_optimizer(nn.Linear(2, 2).parameters(), TrainingOptions(**options))  # type: ignore[arg-type]
    assert type(optimizer).__name__ == kind
    assert expected.items() <= optimizer.param_groups[0].items()


def test_a_description_is_plain_and_tells_hyper_parameters_apart():
    parameters = nn.Linear(2, 2).parameters
    one = describe(make_optimizer(parameters(), TrainingOptions(momentum=0.9)))
    two = describe(make_optimizer(parameters(), TrainingOptions(momentum=0.8)))
    assert one != two
    assert one == describe(make_optimizer(parameters(), TrainingOptions(momentum=0.9)))
    assert one["class"] == "SGD"
