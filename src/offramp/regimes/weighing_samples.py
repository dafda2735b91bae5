"""The loss of learned sample weights: a small network weighs samples at every exit, and learns by looking ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from offramp.backbones import map_tensors
from offramp.regimes.losses import FIRST, ExitLoss, Losses, Step, WeightedCrossEntropy


class SampleWeights(nn.Module):
    """`[n, exits]` losses to `[n, exits]` weights of mean 1 at every exit, within `1 +- spread`; at first all are 1.

    Args:
        exits: number of exits.
        spread: in (0, 1).
        width: of the hidden layer.
    """

    def __init__(self, exits: int, spread: float, width: int) -> None:
        super().__init__()
        self.spread = spread
        self.hidden, self.out = nn.Linear(exits, width), nn.Linear(width, exits)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, losses: Tensor) -> Tensor:
        """Weights of the batch."""
        raw = torch.sigmoid(self.out(torch.relu(self.hidden(losses))))
        return 1 + self.spread * (raw - raw.mean(dim=0))


class LearnedWeightsLoss(nn.Module, ExitLoss):
    """`total = sum_k w_k mean_n s_nk CE_nk`, where s are the weights that `SampleWeights` gives for the CE.

    Every few steps the first half of the batch takes a virtual step of gradient descent, `theta' = theta - lr grad
    total`, and the second half is answered with theta'. Each of its samples leaves at one exit: the surest at the
    first, and so on, in numbers that fall from exit to exit by a factor. The mean cross-entropy where they leave is
    what the weights' network descends; to the model it gives no gradient.

    Args:
        inner: gives the exits' weights w and the label smoothing.
        spread: of the samples' weights.
        width: of the weights' network.
        keep: factor between the numbers of samples that leave at neighbouring exits.
        every: steps from one virtual step to the next.
        rate: factor on the gradient of the weights' network, which shares the model's optimizer.
    """

    def __init__(
        self, inner: WeightedCrossEntropy, spread: float, width: int, keep: float, every: int, rate: float
    ) -> None:
        super().__init__()
        self.inner, self.keep, self.every, self.rate = inner, keep, every, rate
        self.spread, self.width = spread, width
        self._model: tuple[nn.Module, ...] = ()

    def begins(self, model: nn.Module) -> None:
        """Builds the weights' network, and remembers the model, in a tuple so that it is no part of the loss."""
        self.weigh = SampleWeights(len(self.inner.weights), self.spread, self.width)
        self._model = (model,)

    def check(self, exits: int) -> None:
        """See `ExitLoss.check`."""
        self.inner.check(exits)

    def forward(self, logits: Sequence[Tensor], labels: Tensor, step: Step = FIRST) -> Losses:
        """See `ExitLoss`."""
        each = self.each(logits, labels)
        total = self.weighted(each, self.weigh(each.detach()).detach(), step)
        if step.number % self.every == 0 and len(labels) > 1:
            total = total + self._learning(labels, step)
        else:
            total = total + 0.0 * torch.stack([p.sum() for p in self.weigh.parameters()]).sum()
        return Losses(total=total, exits=each.detach().mean(dim=0))

    def each(self, logits: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Cross-entropies `[n, exits]`."""
        smoothing = self.inner.label_smoothing
        terms = [F.cross_entropy(z, labels, reduction="none", label_smoothing=smoothing) for z in logits]
        return torch.stack(terms, dim=1)

    def weighted(self, each: Tensor, weights: Tensor, step: Step) -> Tensor:
        """The sum over the exits that have a weight."""
        pairs = enumerate(self.inner.weights_at(step))
        return torch.stack([w * (weights[:, k] * each[:, k]).mean() for k, w in pairs if w]).sum()

    def _learning(self, labels: Tensor, step: Step) -> Tensor:
        """A term of value 0 whose gradient is that of the look ahead, for the weights' network alone.

        So several processes average it, and the optimizer of the phase takes the step.
        """
        parameters = list(self.weigh.parameters())
        # Fused attention has no second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            gradients = torch.autograd.grad(self.ahead(labels, step), parameters)
        pairs = zip(parameters, gradients, strict=True)
        return self.rate * torch.stack([((p - p.detach()) * g).sum() for p, g in pairs]).sum()

    def ahead(self, labels: Tensor, step: Step) -> Tensor:
        """Mean cross-entropy of the second half where it leaves, after a virtual step on the first half."""
        half, (model,) = len(labels) // 2, self._model
        own = {name: p for name, p in model.named_parameters() if p.requires_grad}
        logits = self._answers(model, own, _rows(step.inputs, slice(None, half), len(labels)))
        each = self.each(logits, labels[:half])
        loss = self.weighted(each, self.weigh(each.detach()), step)
        steps = torch.autograd.grad(loss, list(own.values()), create_graph=True, allow_unused=True)
        moved = {
            name: p if g is None else p.detach() - step.lr * g for (name, p), g in zip(own.items(), steps, strict=True)
        }
        after = self._answers(model, moved, _rows(step.inputs, slice(half, None), len(labels)))
        leaving = exits_by_confidence(after, self.keep)
        return self.each(after, labels[half:]).gather(1, leaving[:, None]).mean()

    def _answers(self, model: nn.Module, parameters: Mapping[str, Tensor], inputs: Any) -> list[Tensor]:
        # Copies: looking ahead must not move the batch statistics.
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        answers: list[Tensor] = torch.func.functional_call(model, {**parameters, **buffers}, (inputs,))
        return answers


def _rows(inputs: Any, rows: slice, n: int) -> Any:
    return map_tensors(lambda tensor: tensor[rows] if tensor.ndim and len(tensor) == n else tensor, inputs)


def exits_by_confidence(logits: Sequence[Tensor], keep: float) -> Tensor:
    """`[n]` int64: the exit at which each sample leaves, where a fixed number leaves at every exit, the surest first.

    Args:
        logits: per exit `[n, classes]`.
        keep: exit k + 1 gets this many times the samples that exit k gets.

    Example:
        >>> sure, unsure = torch.tensor([[9.0, 0.0]]), torch.tensor([[1.0, 0.0]])
        >>> exits_by_confidence([torch.cat([unsure, sure]), torch.cat([sure, sure])], keep=1.0)
        tensor([1, 0])
    """
    n, exits = len(logits[0]), len(logits)
    shares = torch.tensor([keep**k for k in range(exits)], dtype=torch.float64).cumsum(0)
    leaving = torch.full((n,), exits - 1, device=logits[0].device)
    left = torch.ones(n, dtype=torch.bool, device=logits[0].device)
    gone = 0
    for k, share in enumerate((shares / shares[-1]).tolist()[:-1]):
        number = round(share * n) - gone
        sure = logits[k].detach().softmax(dim=-1).amax(dim=-1).masked_fill(~left, -1.0)
        chosen = sure.topk(number).indices
        leaving[chosen], left[chosen], gone = k, False, gone + number
    return leaving
