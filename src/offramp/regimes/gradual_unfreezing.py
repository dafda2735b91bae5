"""Gradual unfreezing by chance: at first mostly the deep layers learn from the exits, in the end all of them do."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from offramp.backbones import map_tensors
from offramp.errors import TrainingError
from offramp.regimes.joint import JOINT
from offramp.regimes.losses import Step
from offramp.regimes.phase import PassChange, Phase, Removable
from offramp.regimes.places import cut_modules
from offramp.regimes.regime import Regime, Wrapping, register


@dataclass(frozen=True)
class UnfreezingPass(PassChange):
    """With probability `1 - done`, no gradient passes the first k cuts in a step; all processes draw the same.

    Args:
        lowest: k; None draws it anew each time, evenly from 1 to the number of cuts.
    """

    lowest: int | None = None
    skips_parameters = True

    def install(self, model: nn.Module, now: Callable[[], Step]) -> list[Removable]:
        """See `PassChange.install`."""
        cuts, _ = cut_modules(model)
        if self.lowest is not None and self.lowest > len(cuts):
            raise TrainingError(
                f"GradualUnfreezing(lowest={self.lowest}): the model has {len(cuts)} cuts; give at most that many."
            )

        def stopping(k: int) -> Callable[[nn.Module, Any, Any], Any]:
            def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
                return map_tensors(Tensor.detach, output) if k < self.closed(now(), len(cuts)) else None

            return hook

        return [cut.register_forward_hook(stopping(k)) for k, cut in enumerate(cuts)]

    def closed(self, step: Step, cuts: int) -> int:
        """How many of the first cuts let no gradient pass in this step."""
        drawn = random.Random(step.seed)
        if drawn.random() >= 1 - step.done:
            return 0
        return drawn.randint(1, cuts) if self.lowest is None else self.lowest


@register
@dataclass(frozen=True)
class GradualUnfreezing(Wrapping):
    """The lowest stages learn in more and more steps: in a share of them that grows from 0 to 1 over the phase.

    The heads at the cuts that are closed learn all the same, on features that get no gradient.

    Args:
        base: the regime whose phases are changed.
        lowest: how many stages are held back; by default drawn anew in each step.

    Source: the stochastic gradual unfreezing of the GPF entry in the code of "How to Train Your Multi-Exit Model?"
    (arXiv 2407.14320), as it is described.
    """

    base: Regime = JOINT
    lowest: int | None = None

    def __post_init__(self) -> None:
        if self.lowest is not None and (isinstance(self.lowest, bool) or self.lowest < 1):
            raise TrainingError(f"GradualUnfreezing(lowest={self.lowest!r}): give a number of stages of at least 1.")

    def changed(self, phase: Phase, exits: int) -> Phase:
        """See `Wrapping.changed`."""
        return phase.with_change(UnfreezingPass(self.lowest)) if phase.parts == ("all",) else phase
