"""Knowledge distillation: the compressed model learns what the uncompressed one says, beside the labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from offramp.backbones import arguments, device_of, evaluating, map_tensors
from offramp.backbones.outputs import tensors_in
from offramp.compression.algorithms.algorithm import Algorithm, Compressor, Stage, Statistics, Workshop, register
from offramp.compression.settings import setting
from offramp.errors import CompressionError


@register
@dataclass(frozen=True, kw_only=True)
class KnowledgeDistillation(Algorithm):
    """Adds a loss between the outputs of the model and those of the model before compression, the teacher.

    Every output tensor takes part, those of all exits where there are several; their losses are averaged.

    Args:
        type: "mse": `scale * mean((student - teacher)^2)`; "softmax": `scale * T^2 * KL(softmax(teacher / T) ||
            softmax(student / T))`, averaged over rows, in nats.
        scale: weight of the loss.
        temperature: T; only for "softmax".

    Source: Hinton et al. 2015 (arXiv 1503.02531). The name, the keys and the factor T^2 are NNCF's; NNCF minimises the
    cross-entropy, which differs from the divergence by the teacher's entropy, a constant.
    """

    order: ClassVar[int] = 40

    type: str = setting(at="type", choices=("mse", "softmax"))
    scale: float = setting(1.0, at="scale", also=("params.scale",), above=0)
    temperature: float = setting(1.0, at="temperature", also=("params.temperature",), above=0)

    def apply(self, model: nn.Module, workshop: Workshop) -> Distiller:
        """See `Algorithm.apply`."""
        _check(model, workshop.original, workshop.example)
        return Distiller(self, model, workshop.original)

    def distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one output, `[n, ...]` each."""
        if self.type == "mse":
            return self.scale * F.mse_loss(student, teacher)
        ours, theirs = ((x / self.temperature).log_softmax(-1).flatten(0, -2) for x in (student, teacher))
        return self.scale * self.temperature**2 * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)


@dataclass
class Heard:
    """One forward pass: what went in, and the tensors that came out."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[Tensor]


class Ear:
    """The hook on the student: remembers its latest forward pass in training mode.

    A class of its own, so that a model that carries it can be copied and pickled; what was heard stays behind.
    """

    def __init__(self) -> None:
        self.heard: Heard | None = None

    def __call__(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """Remembers the pass."""
        if module.training and torch.is_grad_enabled():
            self.heard = Heard(args, kwargs, _floats(output))

    def __getstate__(self) -> dict[str, Any]:
        return {"heard": None}


class Distiller(Compressor):
    """`KnowledgeDistillation` at work.

    Args:
        settings: what was asked for.
        model: the student.
        teacher: in evaluation mode; no part of the student's state.
    """

    def __init__(self, settings: KnowledgeDistillation, model: nn.Module, teacher: nn.Module) -> None:
        self.settings, self.teacher = settings, teacher
        self.ear = Ear()
        model.register_forward_hook(self.ear, with_kwargs=True)

    @property
    def stage(self) -> Stage:
        """Distilling changes no model."""
        return Stage.FULLY

    def statistics(self) -> Statistics:
        """It has no rate."""
        return Statistics(None, None)

    def loss(self) -> Tensor | float:
        """The distance of the latest forward pass in training mode; runs the teacher, once per pass."""
        heard, self.ear.heard = self.ear.heard, None
        if heard is None:
            return 0.0
        with torch.no_grad():
            answers = _floats(self.teacher.to(heard.outputs[0].device)(*heard.args, **heard.kwargs))
        parts = [self.settings.distance(s, t) for s, t in zip(heard.outputs, answers, strict=True)]
        return torch.stack(parts).mean()

    def bake(self, model: nn.Module) -> None:
        """Stops listening."""
        for key, hook in list(model._forward_hooks.items()):
            if isinstance(hook, Ear):
                del model._forward_hooks[key]
                model._forward_hooks_with_kwargs.pop(key, None)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the teacher does not change."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to load."""


def _check(student: nn.Module, teacher: nn.Module, example: Any) -> None:
    """Refuses a teacher with other outputs, before anything is trained."""
    shapes = []
    for model in (student, teacher):
        args, kwargs = arguments(map_tensors(lambda t: t.to(device_of(model)), example))  # noqa: B023 - used at once
        with evaluating(model), torch.no_grad(), torch.random.fork_rng(devices=[]):
            shapes.append([list(t.shape) for t in _floats(model(*args, **kwargs))])
    if shapes[0] != shapes[1]:
        raise CompressionError(
            f"knowledge_distillation: the teacher's outputs are {shapes[1]}, the student's {shapes[0]}. Give a teacher "
            "with the same outputs, e.g. with exits at the same places."
        )


def _floats(value: Any) -> list[Tensor]:
    return [t for t in tensors_in(value) if t is not None and t.is_floating_point()]
