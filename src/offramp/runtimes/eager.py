"""Takes exits in plain PyTorch: stops at batch 1, compacts a batch behind every exit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from offramp.decisions import Decisions
from offramp.errors import InputError
from offramp.exit_model import ExitModel
from offramp.policy import Policy


class EagerRuntime:
    """`runtime(inputs) -> Decisions`, with the outputs in the order of the inputs.

    After each exit that the policy uses, the rows that leave are done and the others go on as a smaller batch. One
    synchronisation per exit reads how many those are. Stages and heads that nobody needs do not run.

    Args:
        model: in evaluation mode.
        policy: for the model's number of exits.

    Example:
        >>> from torch import nn
        >>> import offramp as ofr
        >>> backbone = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> model = ofr.attach(backbone, at=["1"], example=torch.zeros(1, 4))
        >>> ofr.deploy(model, ofr.always(exit=0))(torch.zeros(5, 4)).exits
        tensor([0, 0, 0, 0, 0])
    """

    def __init__(self, model: ExitModel, policy: Policy) -> None:
        self.model = model
        self.policy = policy
        self.thresholds = policy.thresholds_for(model.exits - 1)
        self.needed = policy.heads_needed(model.exits - 1)
        self.costs = model.cost.under(self.needed)
        model.stages()  # cut now, so that the first call does not wait for it

    @torch.no_grad()
    def __call__(self, inputs: Any) -> Decisions:
        """Decides one batch.

        Raises:
            InputError: the model is in training mode, the batch is empty, or on another device.
        """
        if self.model.training or self.model.backbone.training:
            raise InputError(
                "The model is in training mode, where batch statistics mix the rows: call model.eval() first."
            )
        walk = self.model.walk(inputs)
        last = self.model.exits - 1
        rows = torch.arange(walk.rows, device=self.model.device)
        exits = torch.full_like(rows, last)
        logits: Tensor | None = None
        earlier: list[Tensor] = []
        for exit in walk:
            if exit < last and not self.needed[exit]:
                continue
            here = walk.logits()
            logits = _written(logits, rows, here)
            exits[rows] = exit
            if exit == last:
                break
            stay = ~self.policy.leaves(exit, self.thresholds[exit], here, earlier)
            index = stay.nonzero().squeeze(1)
            if len(index) == 0:
                break
            earlier = [*earlier, here] if self.policy.criterion.uses_earlier else []
            if len(index) < walk.rows:
                rows = rows[index]
                earlier = [e[index] for e in earlier]
                walk.keep(index)
        assert logits is not None  # the last exit is always evaluated when an earlier one did not end the loop
        exits_cpu = exits.cpu()
        return Decisions(logits=logits, exits=exits, exit_count=last + 1, macs=self.costs[exits_cpu])


def _written(logits: Tensor | None, rows: Tensor, here: Tensor) -> Tensor:
    """The output with this exit's logits at `rows`; the first exit's logits of all rows serve as the buffer.

    Rows that stay are overwritten at a later exit. Where exits differ in dtype (a backbone in half precision that ends
    in `.float()`), the wider one is kept.
    """
    if logits is None:
        return here.clone()
    dtype = torch.promote_types(logits.dtype, here.dtype)
    return logits.to(dtype).index_copy_(0, rows, here.to(dtype))
