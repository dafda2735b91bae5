"""Runs segments one after the other, whatever they were lowered to, and compacts the batch between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from offramp.decisions import Decisions
from offramp.errors import StageError
from offramp.runtimes.ledger import Ledger
from offramp.runtimes.rows import rows_for
from offramp.runtimes.runtime import Runtime
from offramp.runtimes.tuning import Tuning
from offramp.segments import Entrance, Plan

Program = Callable[..., Sequence[Tensor]]
"""A segment made executable: takes and gives what `Segment.forward` does, for any number of rows, from any thread."""


class StagedRuntime(Runtime):
    """A runtime over programs. It needs nothing of the model they were made from.

    Args:
        plan: stops and thresholds.
        programs: one per stop.
        names: of the cuts where the stops are, for error messages.
        entrance: checks and flattens the inputs.
        backend: what the programs are, e.g. "compile".
        tuning: by which they were chosen, where that is so.
    """

    def __init__(
        self,
        plan: Plan,
        programs: Sequence[Program],
        names: Sequence[str],
        entrance: Entrance,
        backend: str,
        tuning: Tuning | None = None,
    ) -> None:
        self.plan = plan
        self.programs = tuple(programs)
        self.names = tuple(names)
        self.entrance = entrance
        self.backend = backend
        self.tuning = tuning
        self.rows = rows_for(backend)

    @torch.no_grad()
    def __call__(self, inputs: Any) -> Decisions:
        """See `Runtime`."""
        return self.decided(self.entrance.tensors(inputs))

    def decided(self, tensors: Sequence[Tensor]) -> Decisions:
        """Decides a batch that the entrance has let in."""
        ledger = Ledger(self.plan)
        for k in range(len(self.programs)):
            logits, score, tensors = self.run(k, tensors)
            index = ledger.settle(logits, score)
            if index is None:
                continue
            if len(index) == 0:
                break
            tensors = self.rows.keep(tensors, index)
        return ledger.decisions()

    def run(self, k: int, tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor | None, Sequence[Tensor]]:
        """Runs the program of a stop: answer `[n, classes]`, score `[n]` (None at the last stop), and the carry.

        Raises:
            StageError: it failed.
        """
        try:
            out = self.programs[k](*tensors)
        except Exception as error:
            raise StageError.of(self.names[k], len(tensors[0]), error) from error
        return (out[0], None, ()) if len(out) == 1 else (out[0], out[1], out[2:])

    def staged(self) -> StagedRuntime:
        """Itself."""
        return self
