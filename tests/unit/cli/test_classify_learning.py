from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import offramp as ofr
from offramp.cli.steps.classification.learning import Classification, Lesson, Measured, Meter
from offramp.regimes import ExitLoss, Step


def random_logits(exits: int, samples: int, classes: int, seed: int = 0) -> tuple[list[Tensor], Tensor]:
    draw = torch.Generator().manual_seed(seed)
    logits = [torch.randn(samples, classes, generator=draw) for _ in range(exits)]
    return logits, torch.randint(classes, (samples,), generator=draw)


def teacher() -> ofr.ExitModel:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 10))
    return ofr.attach(backbone, at=["1"], example=torch.zeros(1, 6)).eval()


def loss_of(regime: Classification, exits: int) -> ExitLoss:
    (phase,) = regime.phases(exits, epochs=1)
    assert isinstance(phase.loss, Measured)
    return phase.loss


def test_the_final_exit_gets_what_is_left_to_1() -> None:
    logits, labels = random_logits(3, 8, 10)
    total = loss_of(Classification((0.1, 0.3), Meter(3)), 3)(logits, labels).total
    terms = [F.cross_entropy(z, labels) for z in logits]
    assert total == pytest.approx(float(0.1 * terms[0] + 0.3 * terms[1] + 0.6 * terms[2]))


def test_a_network_without_exits_has_the_plain_loss() -> None:
    logits, labels = random_logits(1, 8, 10)
    assert loss_of(Classification((), Meter(1)), 1)(logits, labels).total == F.cross_entropy(logits[0], labels)


def test_every_exit_learns_from_the_teachers_final_answer() -> None:
    logits, labels = random_logits(2, 8, 10)
    inputs, taught = torch.randn(8, 6), teacher()
    lesson = Lesson(temperature=3.0, distill=0.7, student=0.2, start=0)
    loss = loss_of(Classification((0.4,), Meter(2), lesson, taught), 2)
    target = (taught(inputs)[-1] / 3).softmax(dim=1)
    distances = [F.kl_div((z / 3).log_softmax(dim=1), target, reduction="batchmean") for z in logits]
    own = 0.4 * F.cross_entropy(logits[0], labels) + 0.6 * F.cross_entropy(logits[1], labels)
    expected = 0.2 * own + 0.7 * (0.4 * distances[0] + 0.6 * distances[1])
    assert float(loss(logits, labels, Step(inputs=inputs)).total) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_the_teacher_is_not_heard_before_its_epoch() -> None:
    logits, labels = random_logits(2, 8, 10)
    alone = loss_of(Classification((0.4,), Meter(2)), 2)(logits, labels).total
    late = loss_of(Classification((0.4,), Meter(2), Lesson(1.0, 0.5, 0.5, start=2), teacher()), 2)
    inputs = torch.randn(8, 6)
    assert late(logits, labels, Step(epoch=1, inputs=inputs)).total == alone
    assert late(logits, labels, Step(epoch=2, inputs=inputs)).total != alone


def test_the_meter_counts_all_samples_at_every_exit_weighted() -> None:
    meter = Meter(2)
    logits, labels = random_logits(2, 30, 10)
    for rows in (slice(0, 25), slice(25, 30)):
        meter.add(torch.tensor(1.0 if rows.start else 3.0), [z[rows] for z in logits], labels[rows])
    values = meter.values()
    assert values["Overall Loss"] == pytest.approx((25 * 3 + 5 * 1) / 30)
    for k, z in enumerate(logits):
        assert values[f"Top1_exit{k}"] == pytest.approx(100 * float((z.argmax(1) == labels).double().mean()))
        top5 = (z.topk(5).indices == labels[:, None]).any(1).double().mean()
        assert values[f"Top5_exit{k}"] == pytest.approx(100 * float(top5))
    meter.begin()
    assert meter.values() == {}


def test_a_run_is_recognised_by_weights_and_lesson() -> None:
    lesson = Lesson(4.0, 0.5, 0.5, 0)
    with_teacher = Classification((0.4,), Meter(2), lesson, teacher())
    assert with_teacher.to_dict()["lesson"]["temperature"] == 4.0
    assert with_teacher.to_dict() != Classification((0.4,), Meter(2)).to_dict()
