"""Cascades: separate models of growing cost as the exits of one model.

The smaller models become the heads of exits that lie before the largest one has begun: a policy decides on their
logits, a recording holds them, a runtime runs the next model on the rows that go on. A smaller model that a policy
closes does not run, and the plain network is the largest model alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from offramp import backbones
from offramp.backbones import final_logits
from offramp.cost import count_macs
from offramp.errors import AttachError
from offramp.exit_model import ExitModel, attach


class Member(nn.Module):
    """A smaller model as the head of an exit.

    Args:
        model: any module whose output is logits, or holds them.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits `[n, classes]`."""
        return final_logits(self.model(inputs))


class Prefix(nn.Module):
    """A smaller model up to one of its own exits, as the head of an exit. It shares the model's modules.

    Args:
        model: from `attach`, with stages.
        exit: behind which nothing runs.
    """

    def __init__(self, model: ExitModel, exit: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(model.stages()[: exit + 1])
        self.head = model.heads[exit] if exit < len(model.heads) else None

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits `[n, classes]`."""
        feature: Any = None
        values: Sequence[Any] = (inputs,)
        for stage in self.stages:
            feature, values = stage(*values)
        if self.head is None:
            return final_logits(feature)
        logits: Tensor = self.head(backbones.first_tensor(feature))
        return logits


class Cascade(nn.Module):
    """The largest model behind one entrance for each exit of the smaller ones, which look at the same input.

    Args:
        model: the largest.
        exits: how many come before it.
    """

    def __init__(self, model: nn.Module, exits: int) -> None:
        super().__init__()
        self.entrances = nn.ModuleList(nn.Identity() for _ in range(exits))
        self.model = model

    def forward(self, inputs: Tensor) -> Any:
        """The largest model's output."""
        for entrance in self.entrances:
            inputs = entrance(inputs)
        return self.model(inputs)


def cascade(models: Sequence[nn.Module], example: Tensor | None = None) -> ExitModel:
    """Makes one model with exits of several models, to be recorded, calibrated and deployed like any other.

    The exits are the models, in order. A model that has exits of its own brings them along: those of the last model
    are taken on its way, while a smaller model starts anew for each of its exits, which the costs count.

    Args:
        models: cheapest first, at least two, for the same inputs and classes; plain modules, or from `attach`. They
            are not copied.
        example: a batch of inputs, one tensor; not needed where the last model is from `attach`.

    Raises:
        AttachError: fewer than two models, no example, other numbers of classes, costs that do not grow, or a model
            that does not treat rows apart, changes its input in place, or was cut by hooks.
        CutError: the last model cannot be divided where its exits are.

    Example:
        >>> small, large = nn.Linear(4, 3), nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> model = cascade([small, large], example=torch.zeros(1, 4))
        >>> model.exits, model.cost.macs, model.cost.plain
        (2, (12.0, 68.0), 56.0)
    """
    if len(models) < 2:
        raise AttachError(f"cascade(models=...) has {len(models)} models: give at least two, cheapest first.")
    *smaller, last = models
    batch = _example(last, example)
    _check_models(models, batch)
    members = [member for k, model in enumerate(smaller) for member in _members(k, model)]
    inner = zip(last.cuts, last.heads, strict=True) if isinstance(last, ExitModel) else ()
    own = {f"model.{name}": head for name, head in inner}
    backbone = Cascade(_backbone(last), len(members)).train(last.training)
    cuts = [*(f"entrances.{k}" for k in range(len(members))), *own]
    return attach(backbone, cuts, batch, head=[*members, *own.values()])


def _backbone(model: nn.Module) -> nn.Module:
    return model.backbone if isinstance(model, ExitModel) else model


def _members(k: int, model: nn.Module) -> list[nn.Module]:
    if not isinstance(model, ExitModel):
        return [Member(model)]
    if not model.stages():
        raise AttachError(
            f"cascade: model {k} was cut by hooks, and cannot be run up to one of its exits. Pass its .backbone."
        )
    return [Prefix(model, exit) for exit in range(model.exits)]


def _example(last: nn.Module, example: Tensor | None) -> Tensor:
    if example is None and isinstance(last, ExitModel):
        args, kwargs = last.signature.unflatten(last.signature.batch(2, last.device))
        example = args[0] if len(args) == 1 and not kwargs else None
    if not isinstance(example, Tensor):
        raise AttachError(
            "cascade(example=...): give a batch of inputs as one tensor, as all models take it. Models of several "
            "inputs cannot share an entrance: wrap each in a module that takes one tensor."
        )
    return example


def _check_models(models: Sequence[nn.Module], example: Tensor) -> None:
    batch = example.to(backbones.device_of(models[-1]))
    found = [_classes_and_cost(k, _backbone(model), batch) for k, model in enumerate(models)]
    classes, costs = [c for c, _ in found], [cost for _, cost in found]
    if len(set(classes)) > 1:
        raise AttachError(f"cascade: the models have {classes} classes; all of them must have the same ones.")
    if any(a >= b for a, b in itertools.pairwise(costs)):
        raise AttachError(
            f"cascade: the models cost {[f'{c:,.0f}' for c in costs]} MACs per row; give them cheapest first, each "
            "dearer than the one before."
        )


def _classes_and_cost(k: int, model: nn.Module, example: Tensor) -> tuple[int, float]:
    """Number of logits, and MACs of a row."""
    batch = example.clone()
    with backbones.evaluating(model), torch.no_grad():
        logits = final_logits(model(batch))
        cost = count_macs(lambda: model(example[:1].clone()))
    if not torch.equal(example, batch):
        raise AttachError(
            f"cascade: model {k} ({type(model).__name__}) changes its input in place, which the next model would then "
            "see. Let it begin with a copy."
        )
    return int(logits.shape[-1]), cost
