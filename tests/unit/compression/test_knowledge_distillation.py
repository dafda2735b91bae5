from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import offramp as ofr
from offramp.compression.algorithms import KnowledgeDistillation, Stage, Workshop
from offramp.errors import CompressionError

MakeWorkshop = Callable[[nn.Module], Workshop]


def changed(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.2)
    return model


def test_the_losses_are_the_published_ones(residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop) -> None:
    workshop = workshop_for(residual)
    teacher = workshop.original(images)
    for settings, expected in (
        (KnowledgeDistillation(type="mse", scale=3.0), lambda s: 3.0 * ((s - teacher) ** 2).mean()),
        (
            KnowledgeDistillation(type="softmax", scale=2.0, temperature=4.0),
            lambda s: 2.0 * 16.0 * F.kl_div((s / 4).log_softmax(1), (teacher / 4).softmax(1), reduction="batchmean"),
        ),
    ):
        student = changed(copy.deepcopy(residual)).train()
        distiller = settings.apply(student, workshop)
        student_says = student(images)
        loss = distiller.loss()
        assert isinstance(loss, Tensor)
        assert float(loss.detach()) == pytest.approx(expected(student_says).detach().item(), rel=1e-5)
        loss.backward()
        assert student.fc.weight.grad.abs().sum() > 0


def test_it_listens_only_while_the_model_trains_and_once_per_pass(
    residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop
) -> None:
    distiller = KnowledgeDistillation(type="mse").apply(residual, workshop_for(residual))
    residual.eval()(images)
    assert distiller.loss() == 0.0
    residual.train()
    with torch.no_grad():
        residual(images)
    assert distiller.loss() == 0.0
    residual(images)
    assert isinstance(distiller.loss(), Tensor)
    assert distiller.loss() == 0.0
    assert distiller.stage is Stage.FULLY


def test_the_teacher_stays_in_evaluation_mode_and_unchanged(
    residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop
) -> None:
    workshop = workshop_for(residual)
    before = copy.deepcopy(workshop.original.state_dict())
    distiller = KnowledgeDistillation(type="mse").apply(changed(residual), workshop)
    residual.train()(images)
    distiller.loss().backward()
    assert not any(m.training for m in workshop.original.modules())
    assert all(torch.equal(value, before[name]) for name, value in workshop.original.state_dict().items())
    assert all(p.grad is None for p in workshop.original.parameters())


def test_a_teacher_of_another_shape_is_refused_before_training(
    residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop
) -> None:
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 7))
    with pytest.raises(CompressionError, match=r"teacher's outputs are \[\[12, 7\]\], the student's \[\[12, 4\]\]"):
        KnowledgeDistillation(type="mse").apply(residual, workshop_for(other))
    assert not residual._forward_hooks


def test_every_exit_learns_from_the_teachers_exit(residual: nn.Module, images: Tensor) -> None:
    model = ofr.attach(residual, at=["stem", "outer"], example=images[:1])
    teacher = changed(copy.deepcopy(model)).eval()
    distiller = KnowledgeDistillation(type="mse").apply(model, Workshop(images, teacher))
    outputs = model.train()(images)
    expected = torch.stack([F.mse_loss(s, t) for s, t in zip(outputs, teacher(images), strict=True)]).mean()
    assert float(distiller.loss().detach()) == pytest.approx(float(expected.detach()))


def test_copies_and_pickles_carry_no_pass_and_no_teacher(
    residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop
) -> None:
    size = len(pickle.dumps(residual))
    distiller = KnowledgeDistillation(type="mse").apply(residual, workshop_for(residual))
    residual.train()(images)
    assert len(pickle.dumps(residual)) < size + 2000
    both, companion = copy.deepcopy((residual, distiller))
    both(images)
    assert isinstance(companion.loss(), Tensor)
    companion.bake(both)
    both(images)
    assert companion.loss() == 0.0
    assert isinstance(distiller.loss(), Tensor)
