"""Which modules a phase trains: the parts it names, looked up in the model."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from offramp.backbones.modes import trying
from offramp.errors import TrainingError, closest
from offramp.regimes import Phase
from offramp.regimes.phase import PARTS
from offramp.regimes.places import cut_modules, example_of

STAGES = "stages."


def trained_modules(model: nn.Module, phase: Phase) -> set[nn.Module]:
    """Every module, at any depth, that is in training mode in this phase and whose own parameters train.

    Args:
        model: has exits.
        phase: names its parts.

    Raises:
        TrainingError: the model has no such part.
    """
    found: set[nn.Module] = set()
    for part in phase.parts:
        found |= _stage(model, phase, part) if part.startswith(STAGES) else set(_part(model, phase, part).modules())
    return found


def _part(model: nn.Module, phase: Phase, part: str) -> nn.Module:
    if part == "all":
        return model
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if part not in modules or not part:
        known = [*PARTS, f"{STAGES}0", *(name for name in modules if name)]
        raise TrainingError(
            f"Phase '{phase.name}' trains '{part}', which {type(model).__name__} has not. {closest(part, known)}"
        )
    return modules[part]


def _stage(model: nn.Module, phase: Phase, part: str) -> set[nn.Module]:
    exits: int = model.exits  # type: ignore[assignment]
    number = part.removeprefix(STAGES)
    if not number.isdigit() or int(number) >= exits:
        raise TrainingError(
            f"Phase '{phase.name}' trains '{part}'; the model has {STAGES}0 to {STAGES}{exits - 1}: what runs between "
            "the cuts."
        )
    return {module for module, stage in stages_of_modules(model).items() if stage == int(number)}


def stages_of_modules(model: nn.Module) -> dict[nn.Module, int]:
    """For every module of the backbone, the stage in which it is first called: 0 before the first cut.

    A module that is never called itself, such as one whose weights its parent uses, goes with its parent. One that is
    called in several stages belongs to the first.

    Raises:
        TrainingError: the model is not one that `attach` made.
    """
    return _with_children(example_of(model)[0], _first_calls(model))


def _first_calls(model: nn.Module) -> dict[nn.Module, int]:
    cuts, _ = cut_modules(model)
    backbone, args, kwargs = example_of(model)
    called: dict[nn.Module, int] = {}
    passed = itertools.count(1)
    here = 0

    def enters(module: nn.Module, inputs: Any) -> None:
        called.setdefault(module, here)

    def leaves(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal here
        here = next(passed)

    handles = [module.register_forward_pre_hook(enters) for module in backbone.modules()]
    handles += [cut.register_forward_hook(leaves) for cut in cuts]
    try:
        with trying(backbone):
            backbone(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return called


def _with_children(module: nn.Module, called: dict[nn.Module, int], inherited: int = 0) -> dict[nn.Module, int]:
    own = called.get(module, inherited)
    found = {module: own}
    for child in module.children():
        found.update(_with_children(child, called, own))
    return found


class Freezing:
    """What does not train in a phase: its parameters need no gradient, its modules are in evaluation mode.

    A parameter that a frozen module shares with one that trains is frozen.

    Args:
        model: has exits; nothing is changed before `begin`.
        phase: names what trains.

    Raises:
        TrainingError: the model has no such part.
    """

    def __init__(self, model: nn.Module, phase: Phase) -> None:
        self._model = model
        trained = trained_modules(model, phase)
        self._frozen = [module for module in model.modules() if module not in trained]
        # What its owner has frozen himself is not ours to train, or to thaw.
        self._parameters = [p for p in _own_parameters(self._frozen) if p.requires_grad]

    @property
    def frozen(self) -> list[nn.Module]:
        """The modules that do not train."""
        return self._frozen

    def begin(self) -> None:
        """Freezes the parameters."""
        for parameter in self._parameters:
            parameter.requires_grad_(False)

    def set_modes(self) -> None:
        """Training mode for what trains, evaluation mode for the rest."""
        self._model.train()
        self.keep()

    def keep(self) -> None:
        """Puts the frozen modules back, should somebody have called `train()`; cheap enough for every step."""
        for module in self._frozen:
            if module.training:
                module.training = False

    def end(self) -> None:
        """Lets the parameters train again."""
        for parameter in self._parameters:
            parameter.requires_grad_(True)


def _own_parameters(modules: Iterable[nn.Module]) -> list[torch.nn.Parameter]:
    return [parameter for module in modules for parameter in module.parameters(recurse=False)]
