"""Takes exits only where they pay: batches of other sizes go through the plain network."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, Self

from offramp.backbones import Signature
from offramp.comparison import Answer, Ratio, rising
from offramp.decisions import Decisions
from offramp.errors import VerdictError
from offramp.exit_model import ExitModel
from offramp.latency import Network, measure_requests, requests
from offramp.recording import simulate
from offramp.runtimes.runtime import Runtime
from offramp.runtimes.staged import StagedRuntime
from offramp.samples import Samples, timed_rows

SIZES = (1, 8, 64, 256)
"""Batch sizes that are measured where none are named."""
ROUNDS = 21
LEAST = 64
"""Samples that are timed in each round, at least."""


class RefusingRuntime(Runtime):
    """A runtime and the plain network; which of them gets a batch depends on nothing but its size.

    A batch goes to the plain network where, at the measured batch size nearest to its own (by ratio), exits do not
    pay; where that is unresolved, exits are taken. **The decisions are then not the policy's**: all rows of a refused
    batch take the last exit. What was certified about accuracy, harm or disagreement still holds, as the plain network
    has no drop against itself, as long as the size of a batch tells nothing about the samples in it. What was promised
    about MACs does not.

    Args:
        exits: takes exits.
        plain: sends every row to the last exit; its `plan` costs what the plain network costs.
        signature: of the inputs.
        ratios: time of `exits` over that of `plain`, by batch size.
    """

    def __init__(self, exits: Runtime, plain: Runtime, signature: Signature, ratios: Mapping[int, Ratio]) -> None:
        self.plan = exits.plan
        self.exits = exits
        self.plain = plain
        self.signature = signature
        self.ratios = dict(ratios)

    @classmethod
    def measured(
        cls, model: ExitModel, exits: Runtime, plain: Runtime, data: Any, batch_sizes: Sequence[int], seed: int = 0
    ) -> Self:
        """Times both on samples that leave in the proportions of the data.

        Args:
            model: that both run, in evaluation mode.
            exits: takes exits.
            plain: does not.
            data: inputs like those to come, see `Samples.of`.
            batch_sizes: at which to time.
            seed: of the choice of samples and the order of timing.

        Raises:
            VerdictError: no data, a batch size below 1, or none.
            InputError: the data is empty or does not fit the model.
        """
        if data is None:
            raise VerdictError("refuse=True needs data=...: inputs like those to come, on which exits are timed.")
        sizes = rising(batch_sizes)
        samples = Samples.of(model, data)
        taken = simulate(samples.record(model), exits.policy).exits
        ratios = {}
        for batch in sizes:
            rows = timed_rows(taken, batch, LEAST, model.exits, seed)
            batches = [model.to_own_device(samples.take(index)) for index in rows]
            calls = {"exits": requests(_logits(exits), batches), "plain": requests(_logits(plain), batches)}
            laps = measure_requests(calls, ROUNDS, device=model.device, order=random.Random(seed))
            ratios[batch] = Ratio.of(laps["exits"].totals, laps["plain"].totals)
        return cls(exits, plain, model.signature, ratios)

    def refuses(self, rows: int) -> bool:
        """Whether a batch of so many rows goes through the plain network."""
        nearest = min(self.ratios, key=lambda size: abs(math.log(size / rows)))
        return self.ratios[nearest].answer is Answer.DOES_NOT_PAY

    def __call__(self, inputs: Any) -> Decisions:
        """See `Runtime`."""
        leaves = self.signature.flatten(inputs)
        rows = int(leaves[self.signature.has_rows.index(True)].shape[0])
        return (self.plain if self.refuses(rows) else self.exits)(inputs)

    def staged(self) -> StagedRuntime:
        """The runtime with exits, segment by segment: there, nothing is refused."""
        return self.exits.staged()


def _logits(runtime: Runtime) -> Network:
    return lambda inputs: runtime(inputs).logits
