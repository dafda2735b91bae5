from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from offramp.errors import TrainingError
from offramp.regimes import Joint, Phase, WeightedCrossEntropy


def batch(exits: int = 3, seed: int = 0) -> tuple[list[torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = [torch.randn(5, 4, generator=generator) for _ in range(exits)]
    return logits, torch.randint(4, (5,), generator=generator)


def total_of(regime: Joint, logits: list[torch.Tensor], labels: torch.Tensor) -> float:
    (phase,) = regime.phases(len(logits), epochs=2)
    return phase.loss(logits, labels).total.item()


def test_mean_is_the_unweighted_mean_over_all_exits():
    logits, labels = batch()
    expected = sum(F.cross_entropy(z, labels).item() for z in logits) / 3
    assert total_of(Joint(), logits, labels) == pytest.approx(expected)


def test_depth_weighs_by_position():
    logits, labels = batch()
    expected = sum((i + 1) * F.cross_entropy(z, labels).item() for i, z in enumerate(logits)) / 6
    assert total_of(Joint(weights="depth"), logits, labels) == pytest.approx(expected)


def test_given_weights_leave_the_rest_to_the_final_exit():
    logits, labels = batch()
    a, b, c = (F.cross_entropy(z, labels).item() for z in logits)
    assert total_of(Joint(weights=[0.5, 0.2]), logits, labels) == pytest.approx(0.5 * a + 0.2 * b + 0.3 * c)


def test_losses_tell_each_exit_and_do_not_hold_the_graph():
    logits, labels = batch()
    logits[0].requires_grad_()
    losses = WeightedCrossEntropy((1.0, 0.0, 0.0))(logits, labels)
    assert losses.exits.tolist() == pytest.approx([F.cross_entropy(z, labels).item() for z in logits])
    assert losses.total.requires_grad
    assert not losses.exits.requires_grad


def test_label_smoothing_is_that_of_cross_entropy():
    logits, labels = batch(exits=1)
    expected = F.cross_entropy(logits[0], labels, label_smoothing=0.1).item()
    assert total_of(Joint(label_smoothing=0.1), logits, labels) == pytest.approx(expected)
    assert total_of(Joint(), logits, labels) != pytest.approx(expected)


@given(st.sampled_from(["mean", "depth"]), st.integers(1, 40))
def test_named_weights_are_positive_and_sum_to_one(name: str, exits: int):
    weights = Joint(weights=name).exit_weights(exits)
    assert len(weights) == exits
    assert min(weights) > 0
    assert math.fsum(weights) == pytest.approx(1)


@given(st.lists(st.floats(0, 1), max_size=6))
def test_given_weights_are_taken_exactly_when_they_sum_below_one(weights: list[float]):
    if math.fsum(weights) < 1:
        assert math.fsum(Joint(weights=weights).exit_weights(len(weights) + 1)) == pytest.approx(1)
    else:
        with pytest.raises(TrainingError, match="sum to"):
            Joint(weights=weights)


def test_wrong_number_of_weights_names_both_counts():
    with pytest.raises(TrainingError, match=r"\[0.2, 0.2\]\) has 2 weights, the model has 3 early exits"):
        Joint(weights=[0.2, 0.2]).phases(model_exits=4, epochs=1)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([0.6, 0.6], "sum to 1.2"),
        ([-0.1, 0.2], "-0.1 is not a finite number of at least 0"),
        ([float("nan")], "nan is not"),
        ("median", "'mean', 'depth' or 'ramp'"),
        (["a"], "list of numbers"),
        (0.5, "list of numbers"),
    ],
)
def test_impossible_weights_are_refused(weights: object, message: str):
    with pytest.raises(TrainingError, match=message):
        Joint(weights=weights)  # type: ignore[arg-type]


def test_impossible_smoothing_is_refused():
    with pytest.raises(TrainingError, match=r"label_smoothing=1.0"):
        Joint(label_smoothing=1.0)


@pytest.mark.parametrize("epochs", [0, 1.5, True])
def test_a_phase_needs_whole_epochs(epochs: object):
    with pytest.raises(TrainingError, match="epochs="):
        Phase("joint", epochs, WeightedCrossEntropy((1.0,)))  # type: ignore[arg-type]


def test_a_phase_trains_something():
    with pytest.raises(TrainingError, match=r"trains=\(\); give one of all, backbone, heads"):
        Phase("joint", 1, WeightedCrossEntropy((1.0,)), trains=())
