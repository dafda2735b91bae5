from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from offramp.errors import TrainingError
from offramp.training.tally import Tally

CPU = torch.device("cpu")


def alone(total: torch.Tensor) -> torch.Tensor:
    return total


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 99))
def test_means_do_not_depend_on_how_samples_are_batched(sizes: list[int], seed: int):
    generator = torch.Generator().manual_seed(seed)
    logits = [torch.randn(sum(sizes), 4, generator=generator) for _ in range(2)]
    labels = torch.randint(4, (sum(sizes),), generator=generator)
    tally = Tally(2, CPU, "here")
    parts = zip(*(z.split(sizes) for z in logits), labels.split(sizes), strict=True)
    for first, second, target in parts:
        losses = torch.stack([torch.nn.functional.cross_entropy(z, target) for z in (first, second)])
        tally.add(losses, [first, second], target)
    scores = tally.scores(alone)
    assert scores.samples == sum(sizes)
    assert scores.loss == pytest.approx([torch.nn.functional.cross_entropy(z, labels).item() for z in logits], rel=1e-5)
    assert scores.accuracy == pytest.approx([(z.argmax(1) == labels).double().mean().item() for z in logits])


def test_processes_are_summed_before_dividing():
    tally = Tally(1, CPU, "here")
    tally.add(torch.tensor([2.0]), [torch.tensor([[1.0, 0.0]])], torch.tensor([0]))
    # The other process has three samples with mean loss 1 and no hit.
    scores = tally.scores(lambda total: total + torch.tensor([3.0, 0.0, 3.0], dtype=total.dtype))
    assert (scores.loss, scores.accuracy, scores.samples) == ((1.25,), (0.25,), 4)


def test_running_accuracy_starts_at_zero():
    tally = Tally(2, CPU, "here")
    assert tally.accuracy() == [0.0, 0.0]
    tally.add(torch.zeros(2), [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])], torch.tensor([0]))
    assert tally.accuracy() == [1.0, 0.0]


def test_the_first_bad_loss_since_the_last_look_is_named():
    tally = Tally(2, CPU, "training, epoch 7")
    logits, labels = [torch.zeros(1, 2)] * 2, torch.tensor([0])
    for step in range(1, 10):
        tally.add(torch.tensor([1.0, float("inf") if step >= 8 else 1.0]), logits, labels)
        if step == 5:
            tally.check_finite()
    with pytest.raises(TrainingError, match=r"became inf at exit 1 \(training, epoch 7, step 8\)"):
        tally.check_finite()


def test_nothing_seen_is_an_error():
    with pytest.raises(TrainingError, match=r"gave no batch \(validation, epoch 2\)"):
        Tally(2, CPU, "validation, epoch 2").scores(alone)
