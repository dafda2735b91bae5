"""Layer dropout: whole blocks are left out for single samples, deeper ones more often, so that early exits can do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from offramp.backbones import first_tensor, map_tensors
from offramp.backbones.modes import trying
from offramp.errors import TrainingError
from offramp.regimes.losses import Step
from offramp.regimes.phase import PassChange, Phase, Removable
from offramp.regimes.places import example_of
from offramp.regimes.regime import Regime, Wrapping, register
from offramp.regimes.rotational import Rotational


@dataclass(frozen=True)
class LayerDropoutPass(PassChange):
    """Replaces the output of block l of L by its input, sample by sample, with probability `rate d(l) s(t)`.

    `d(l) = 2^(l / (L - 1)) - 1` rises from 0 at the first block to 1 at the last, `s(t) = 2^t - 1` over the share t of
    the phase; without the curriculum it is 1.

    Args:
        rate: at the last block, in the end.
        curriculum: whether it rises over the phase.
        blocks: name of the module that holds the blocks; None to look for them.
    """

    rate: float
    curriculum: bool
    blocks: str | None = None

    def install(self, model: nn.Module, now: Callable[[], Step]) -> list[Removable]:
        """See `PassChange.install`."""
        blocks = shape_keeping_blocks(model, self.blocks)

        def dropping(depth: float) -> Callable[..., Any]:
            def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
                probability = self.probability(depth, now().done)
                return _dropped(first_tensor((args, kwargs)), output, probability) if probability else None

            return hook

        last = max(len(blocks) - 1, 1)
        return [block.register_forward_hook(dropping(k / last), with_kwargs=True) for k, block in enumerate(blocks)]

    def probability(self, depth: float, done: float) -> float:
        """Of being left out, at the depth l / (L - 1), when this share of the phase is done."""
        return self.rate * (2**depth - 1) * (2**done - 1 if self.curriculum else 1.0)


def _dropped(before: Tensor | None, output: Any, probability: float) -> Any:
    after = first_tensor(output)
    if before is None or after is None:
        return None
    keep = torch.rand(len(after), device=after.device) >= probability
    chosen = torch.where(keep.view(-1, *(1,) * (after.ndim - 1)), after, before)
    return map_tensors(lambda tensor: chosen if tensor is after else tensor, output)


def shape_keeping_blocks(model: nn.Module, name: str | None) -> list[nn.Module]:
    """The blocks that can be left out, in the order of running.

    Args:
        model: from `attach`.
        name: of a module of the backbone; its children are the blocks. None takes, in every `Sequential` and
            `ModuleList`, those children that are made of several modules and have a sibling of their kind.

    Raises:
        TrainingError: there is no such module, or no block gives a tensor of the shape it is given.
    """
    backbone, args, kwargs = example_of(model)
    candidates = _children(backbone, name)
    kept: list[nn.Module] = []

    def look(module: nn.Module, given: Any, named: Any, output: Any) -> None:
        before, after = first_tensor((given, named)), first_tensor(output)
        if before is not None and after is not None and before.shape == after.shape and module not in kept:
            kept.append(module)

    handles = [block.register_forward_hook(look, with_kwargs=True) for block in candidates]
    try:
        with trying(backbone):
            backbone(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    if not kept or (name is not None and len(kept) < len(candidates)):
        raise TrainingError(
            f"LayerDropout(blocks={name!r}): {len(kept)} of {len(candidates)} blocks of {type(backbone).__name__} give "
            "a tensor of the shape they are given, and only such a block can be left out. Name the module that holds "
            "them, or leave layer dropout out."
        )
    return kept


def _children(backbone: nn.Module, name: str | None) -> list[nn.Module]:
    if name is not None:
        try:
            return list(backbone.get_submodule(name).children())
        except AttributeError as error:
            raise TrainingError(f"LayerDropout(blocks={name!r}): the backbone has no such module.") from error
    holders = [module for module in backbone.modules() if isinstance(module, nn.Sequential | nn.ModuleList)]
    found = [
        child
        for holder in holders
        for child in holder.children()
        if any(child.children()) and sum(type(other) is type(child) for other in holder.children()) > 1
    ]
    # A block within a block goes with it.
    inner = {part for child in found for part in child.modules() if part is not child}
    return [child for child in found if child not in inner]


ROTATIONAL = Rotational()


@register
@dataclass(frozen=True)
class LayerDropout(Wrapping):
    """Leaves out blocks of models whose blocks keep the shape: residual networks and transformers.

    In evaluation nothing is left out.

    Args:
        base: the regime whose phases are changed; the rotational exit loss by default, as in the source.
        rate: probability with which the last block is left out, in the end, in (0, 1).
        curriculum: whether the rate rises from 0 over a phase.
        blocks: name of the backbone's module whose children are the blocks, e.g. "encoder.layer"; by default they are
            looked for.

    Source: Elhoushi et al. 2024 (LayerSkip), section 4.1.1.
    """

    base: Regime = ROTATIONAL
    rate: float = 0.2
    curriculum: bool = True
    blocks: str | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate) and 0 < self.rate < 1):
            raise TrainingError(f"LayerDropout(rate={self.rate!r}): give a probability above 0 and below 1.")

    def changed(self, phase: Phase, exits: int) -> Phase:
        """See `Wrapping.changed`."""
        change = LayerDropoutPass(self.rate, self.curriculum, self.blocks)
        return phase.with_change(change) if phase.parts == ("all",) else phase
