"""Gradient equilibrium: every block gets as much gradient from the exits behind it as from one exit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from offramp.backbones import map_tensors
from offramp.regimes.joint import JOINT
from offramp.regimes.losses import Step
from offramp.regimes.phase import PassChange, Phase, Removable
from offramp.regimes.places import cut_modules
from offramp.regimes.regime import Regime, Wrapping, register


@dataclass(frozen=True)
class EquilibriumPass(PassChange):
    """Scales gradients at the cuts i = 0 .. N-2 of a model with N exits; the forward pass stays as it is.

    What comes back to the cut as a whole is scaled by (N-i-1) / (N-i), and what comes from its head by 1 / (N-i-1)
    before that. The head's share is then 1 / (N-i); that of every later exit j, 1 / (N-j) at its own cut, shrinks to
    the same 1 / (N-i) on its way back, because the factors in between cancel.
    """

    def install(self, model: nn.Module, now: Callable[[], Step]) -> list[Removable]:
        """See `PassChange.install`."""
        cuts, heads = cut_modules(model)
        n = len(cuts) + 1
        handles: list[Removable] = []
        for i, (cut, head) in enumerate(zip(cuts, heads, strict=True)):
            handles.append(cut.register_forward_hook(_scaling_output((n - i - 1) / (n - i))))
            handles.append(head.register_forward_pre_hook(_scaling_input(1 / (n - i - 1))))
        return handles


def _scaling_output(factor: float) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        map_tensors(lambda tensor: _scaled(tensor, factor), output)

    return hook


def _scaling_input(factor: float) -> Callable[[nn.Module, Any], Any]:
    def hook(module: nn.Module, inputs: Any) -> Any:
        # A tensor of its own: the factor must not touch what the trunk sends back.
        return map_tensors(lambda tensor: _scaled(tensor.clone(), factor) if tensor.requires_grad else tensor, inputs)

    return hook


def _scaled(tensor: Tensor, factor: float) -> Tensor:
    if tensor.requires_grad and factor != 1:
        tensor.register_hook(lambda gradient: gradient * factor)  # type: ignore[no-untyped-call]
    return tensor


@register
@dataclass(frozen=True)
class GradientEquilibrium(Wrapping):
    """Rescales gradients so that their size does not grow with the number of exits behind a block.

    With N exits, block i (from 0) gets the share 1 / (N-i) of the gradient of its own exit and of every later one.
    What passes a cut on another way than through the cut module's output, such as a shortcut around it, keeps its
    gradient. A phase in which the backbone is frozen has nothing to rescale.

    Args:
        base: the regime whose phases are changed.

    Source: Li et al. 2019 (Improved Techniques for Training Adaptive Deep Networks), section 3.1.
    """

    base: Regime = JOINT

    def changed(self, phase: Phase, exits: int) -> Phase:
        """See `Wrapping.changed`."""
        return phase.with_change(EquilibriumPass()) if phase.parts == ("all",) else phase
