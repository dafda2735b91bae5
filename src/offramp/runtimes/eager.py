"""Takes exits in plain PyTorch, on the live model: takes every model that can be cut; others are checked by it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from offramp.decisions import Decisions
from offramp.errors import InputError
from offramp.exit_model import Arrival, ExitModel
from offramp.policy import Policy
from offramp.runtimes.form import Form, FormingEntrance
from offramp.runtimes.ledger import Ledger
from offramp.runtimes.runtime import Runtime
from offramp.runtimes.staged import StagedRuntime
from offramp.segments import Plan, segments_of


class EagerRuntime(Runtime):
    """`runtime(inputs) -> Decisions`, with the outputs in the order of the inputs.

    After each exit that the policy uses, the rows that leave are done and the others go on as a smaller batch. Stages
    and heads that nobody needs do not run. It runs the model's own modules: what changes there changes here.

    Args:
        model: in evaluation mode.
        policy: for the model's number of exits.
        form: that the model has; inputs are brought into it.

    Example:
        >>> from torch import nn
        >>> import offramp as ofr
        >>> backbone = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> model = ofr.attach(backbone, at=["1"], example=torch.zeros(1, 4))
        >>> ofr.deploy(model, ofr.always(exit=0))(torch.zeros(5, 4)).exits
        tensor([0, 0, 0, 0, 0])
    """

    def __init__(self, model: ExitModel, policy: Policy, form: Form | None = None) -> None:
        self.model = model
        self.form = form or Form()
        self.plan = Plan.of(model, policy)
        model.chain()  # cut now, so that the first call does not wait for it

    @torch.no_grad()
    def __call__(self, inputs: Any) -> Decisions:
        """See `Runtime`.

        Raises:
            InputError: as there, and where the model is in training mode.
        """
        if self.model.training or self.model.backbone.training:
            raise InputError(
                "The model is in training mode, where batch statistics mix the rows: call model.eval() first."
            )
        ledger = Ledger(self.plan)
        last = self.model.exits - 1
        earlier: list[Tensor] = []

        def visit(arrival: Arrival) -> Tensor | None:
            exit = arrival.exit
            if exit not in self.plan.stops:
                return None
            logits = arrival.logits()
            if exit == last:
                index = ledger.settle(self.policy.answer(exit, logits, earlier), None)
            else:
                score, answer = self.policy.judge(exit, logits, earlier)
                index = ledger.settle(answer, score)
            if self.plan.uses_earlier:
                earlier.append(logits)
                earlier[:] = earlier if index is None else [e[index] for e in earlier]
            return index

        self.model.traverse(self.form.inputs(inputs), visit)
        return ledger.decisions()

    def staged(self) -> StagedRuntime:
        """The same model, segment by segment."""
        segments = segments_of(self.model, self.plan)
        entrance = FormingEntrance.into(self.model, self.form)
        return StagedRuntime(self.plan, segments, [s.name for s in segments], entrance, "eager")
