"""What a pass over labelled images found at every exit, reduced to a few numbers per image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

import offramp as ofr
from offramp.errors import RecordingError
from offramp.training.batch import labelled

TOP = 5


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Every exit's figures on n images, whether or not they would leave there.

    Attributes:
        scores: `[exits - 1, n]`, the criterion's at each early exit; larger = surer. No label is in them.
        losses: `[exits, n]`, cross-entropy of the exit's own logits, in nats.
        predictions: `[exits, n]` int64, what the exit answers.
        top5: `[exits, n]` bool, whether the label is among its five largest logits (all, where there are fewer).
        labels: `[n]` int64.
    """

    scores: Tensor
    losses: Tensor
    predictions: Tensor
    top5: Tensor
    labels: Tensor

    @property
    def samples(self) -> int:
        """Number of images."""
        return len(self.labels)

    @property
    def exits(self) -> int:
        """Number of exits, the final one included."""
        return len(self.losses)

    @property
    def top1(self) -> Tensor:
        """`[exits, n]` bool: whether the exit answers with the label."""
        return self.predictions == self.labels

    def taken(self, policy: ofr.Policy) -> Tensor:
        """`[n]` int64: the exit that each image takes; the first whose score is strictly above its threshold."""
        exits = torch.full((self.samples,), self.exits - 1)
        for k, threshold in reversed(list(enumerate(policy.thresholds_for(self.exits - 1)))):
            exits[self.scores[k] > threshold] = k
        return exits

    def gated(self, counts: Sequence[int]) -> Tensor:
        """`[n]` int64: the exits taken if at each early exit the surest of those still there leave, so many of them.

        Args:
            counts: how many leave at each early exit.
        """
        exits = torch.full((self.samples,), self.exits - 1)
        waiting = torch.arange(self.samples)
        for k, count in enumerate(counts):
            order = self.scores[k, waiting].argsort(descending=True, stable=True)
            exits[waiting[order[:count]]] = k
            waiting = waiting[order[count:]].sort().values
        return exits

    @classmethod
    def of_batch(cls, logits: Sequence[Tensor], labels: Tensor, policy: ofr.Policy) -> Outcomes:
        """Of one batch, on the CPU.

        Args:
            logits: of every exit, `[n, classes]` each, earliest first.
            labels: `[n]`.
            policy: says what is scored, and how exits answer; its thresholds are not used.
        """
        wide = [z.detach().float() for z in logits]
        labels = labels.to(wide[0].device)
        answers = [policy.answer(k, z, wide[:k]) for k, z in enumerate(wide)]
        scores = [policy.score(k, z, wide[:k]) for k, z in enumerate(wide[:-1])]
        largest = [answer.topk(min(TOP, answer.shape[1])).indices for answer in answers]
        parts = (
            torch.stack(scores) if scores else wide[0].new_zeros(0, len(labels)),
            torch.stack([F.cross_entropy(z, labels, reduction="none") for z in wide]),
            torch.stack([answer.argmax(dim=1) for answer in answers]),
            torch.stack([(top == labels[:, None]).any(dim=1) for top in largest]),
            labels,
        )
        return cls(*(part.cpu() for part in parts))

    @classmethod
    def joined(cls, parts: Sequence[Outcomes]) -> Outcomes:
        """Of several batches, in order.

        Raises:
            RecordingError: there are none.
        """
        if not parts:
            raise RecordingError("There was no batch to take statistics of: the split is empty. Make it larger.")
        return cls(*(torch.cat([getattr(part, field.name) for part in parts], dim=-1) for field in fields(cls)))


def outcomes_of(model: ofr.ExitModel, loader: Iterable[Any], policy: ofr.Policy) -> Outcomes:
    """Runs every exit on every image, in evaluation mode and without gradients.

    Raises:
        RecordingError: the loader is empty.
        TrainingError: a batch has no labels.
    """
    parts = []
    with model.evaluating(), torch.no_grad():
        for batch in loader:
            inputs, labels = labelled(batch, "statistics")
            parts.append(Outcomes.of_batch(model(model.to_own_device(inputs)), labels, policy))
    return Outcomes.joined(parts)
