"""Gradient dominance: which exit's loss a block of the backbone listens to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from offramp.errors import AnalysisError
from offramp.exit_model import ExitModel

Blocks = Mapping[str, Sequence[nn.Parameter]]


@dataclass(frozen=True, eq=False)
class Dominance:
    """Gradients of the exits' losses on the blocks: `g_eb` is that of exit e's weighted loss on block b.

    All are `[blocks, exits, ...]` float64; where an exit does not reach a block (it is before it), norms and shares are
    0 and cosines NaN.

    Attributes:
        blocks: names, earliest first.
        norms: `|g_eb|`.
        norm_shares: `|g_eb| / sum_e |g_eb|`, which is blind to gradients that cancel.
        signed_shares: `<g_eb, g_b> / |g_b|^2` with `g_b = sum_e g_eb`; they sum to 1, and one below 0 belongs to an
            exit whose loss rises along the common step.
        cosines: `[blocks, exits, exits]`, of each pair of exits.
    """

    blocks: tuple[str, ...]
    norms: Tensor
    norm_shares: Tensor
    signed_shares: Tensor
    cosines: Tensor

    @classmethod
    def of(cls, gradients: Mapping[str, Tensor]) -> Dominance:
        """From each block's gradients `[exits, parameters]`; the row of an exit that does not reach it is zero.

        Example:
            >>> orthogonal = Dominance.of({"block": torch.tensor([[3.0, 0.0], [0.0, 1.0]])})
            >>> orthogonal.norm_shares[0].tolist(), orthogonal.signed_shares[0].tolist()
            ([0.75, 0.25], [0.9, 0.1])
        """
        parts = [_of_block(rows.double()) for rows in gradients.values()]
        norms, shares, signed, cosines = (torch.stack(group) for group in zip(*parts, strict=True))
        return cls(tuple(gradients), norms, shares, signed, cosines)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; NaN as None."""
        tensors = {name: getattr(self, name) for name in ("norms", "norm_shares", "signed_shares", "cosines")}
        return {"blocks": list(self.blocks), **{name: _plain(value.tolist()) for name, value in tensors.items()}}


def gradient_dominance(
    model: ExitModel,
    inputs: Any,
    labels: Tensor,
    *,
    weights: Sequence[float] | None = None,
    blocks: Blocks | None = None,
) -> Dominance:
    """Gradients of every exit's cross-entropy on every block, for one batch, in evaluation mode.

    Batch norms use their running statistics, so that nothing in the model changes; one backward pass per exit.

    Args:
        model: with exits.
        inputs: a batch, as for the model.
        labels: `[n]`.
        weights: of the exits' losses, earliest first; None means 1 / exits each.
        blocks: parameters by name; None means the stages between the cuts.

    Raises:
        AnalysisError: the wrong number of weights, or the model has no stages and no blocks are given.
    """
    shares = [1 / model.exits] * model.exits if weights is None else list(weights)
    if len(shares) != model.exits:
        raise AnalysisError(
            f"gradient_dominance(weights={shares}): the model has {model.exits} exits; give one weight per exit."
        )
    chosen = stage_blocks(model) if blocks is None else blocks
    parameters = [parameter for group in chosen.values() for parameter in group]
    with model.evaluating(), _all_learning(parameters), torch.enable_grad():
        logits = model(model.to_own_device(inputs))
        target = labels.to(logits[0].device)
        losses = [share * cross_entropy(z, target) for share, z in zip(shares, logits, strict=True)]
        rows = [torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True) for loss in losses]
    return Dominance.of(_by_block(chosen, rows))


def stage_blocks(model: ExitModel) -> dict[str, list[nn.Parameter]]:
    """Parameters of the backbone between the cuts, by the name of the cut that ends them; "rest" behind the last.

    Raises:
        AnalysisError: the model is cut by hooks, and has no stages.
    """
    stages = model.stages()
    if not stages:
        raise AnalysisError(
            "This model is cut by hooks and has no stages whose parameters could be told apart. Give "
            "blocks={name: list(submodule.parameters()), ...}."
        )
    named = zip((*model.cuts, "rest"), stages, strict=True)
    found = {name: [p for p in stage.parameters() if p.is_floating_point()] for name, stage in named}
    return {name: group for name, group in found.items() if group}


def _by_block(blocks: Blocks, rows: Sequence[Sequence[Tensor | None]]) -> dict[str, Tensor]:
    """`[exits, parameters]` of each block, from the gradients of all parameters, one row per exit."""
    gradients, start = {}, 0
    for name, group in blocks.items():
        flat = [
            torch.cat([_or_zero(g, p) for g, p in zip(row[start : start + len(group)], group, strict=True)])
            for row in rows
        ]
        gradients[name] = torch.stack(flat)
        start += len(group)
    return gradients


def _or_zero(gradient: Tensor | None, parameter: Tensor) -> Tensor:
    return (torch.zeros_like(parameter) if gradient is None else gradient).detach().flatten().cpu()


def _of_block(rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Norms, norm shares, signed shares, cosines of gradients `[exits, parameters]`."""
    products = rows @ rows.T
    norms = products.diagonal().sqrt()
    total = products.sum()
    # A block without any gradient has no shares to tell.
    signed = products.sum(dim=1) / total if total > 0 else torch.zeros_like(norms)
    shares = norms / norms.sum().clamp(min=torch.finfo(norms.dtype).tiny)
    cosines = products / (norms[:, None] * norms[None, :])
    return norms, shares, signed, cosines


@contextmanager
def _all_learning(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Gradients for frozen parameters too; what they were is put back."""
    before = [parameter.requires_grad for parameter in parameters]
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter, learns in zip(parameters, before, strict=True):
            parameter.requires_grad_(learns)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if value != value else value
