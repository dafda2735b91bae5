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


class Cascade(nn.Module):
    """The largest model behind one entrance for each smaller model, which look at the same input.

    Args:
        model: the largest.
        smaller: how many models come before it.
    """

    def __init__(self, model: nn.Module, smaller: int) -> None:
        super().__init__()
        self.entrances = nn.ModuleList(nn.Identity() for _ in range(smaller))
        self.model = model

    def forward(self, inputs: Tensor) -> Any:
        """The largest model's output."""
        for entrance in self.entrances:
            inputs = entrance(inputs)
        return self.model(inputs)


def cascade(models: Sequence[nn.Module], example: Tensor | None = None) -> ExitModel:
    """Makes one model with exits of several models, to be recorded, calibrated and deployed like any other.

    Exit k answers with the k-th model. The last model may have exits of its own, which come between.

    Args:
        models: cheapest first, at least two, for the same inputs and classes. Plain modules; the last one may be from
            `attach`. They are not copied.
        example: a batch of inputs, one tensor; not needed where the last model is from `attach`.

    Raises:
        AttachError: fewer than two models, no example, other numbers of classes, costs that do not grow, exits inside
            a smaller model, or a model that does not treat rows apart or that changes its input in place.
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
    for k, model in enumerate(smaller):
        if isinstance(model, ExitModel):
            raise AttachError(
                f"cascade: model {k} has exits of its own, which only the last model may have. Pass its .backbone, or "
                "calibrate the two separately."
            )
    batch = _example(last, example)
    _check_models(smaller, last.backbone if isinstance(last, ExitModel) else last, batch)
    inner = [(f"model.{name}", head) for name, head in _exits(last)]
    backbone = Cascade(last.backbone if isinstance(last, ExitModel) else last, len(smaller))
    backbone.train(last.training)
    cuts = [f"entrances.{k}" for k in range(len(smaller))] + [name for name, _ in inner]
    heads: list[Any] = [Member(model) for model in smaller] + [head for _, head in inner]
    return attach(backbone, cuts, batch, head=heads)


def _exits(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return list(zip(model.cuts, model.heads, strict=True)) if isinstance(model, ExitModel) else []


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


def _check_models(smaller: Sequence[nn.Module], largest: nn.Module, example: Tensor) -> None:
    batch = example.to(backbones.device_of(largest))
    found = [_classes_and_cost(k, model, batch) for k, model in enumerate([*smaller, largest])]
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
