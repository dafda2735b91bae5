"""Losses and hits of every exit, added up on the device so that a training step never waits for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from offramp.errors import TrainingError
from offramp.training.history import Scores


class Tally:
    """Running sums over the samples seen so far, per exit.

    Args:
        exits: number of exits, the final one included.
        device: where the sums are kept: that of the logits.
        where: what is tallied, for error messages, e.g. "training, epoch 3".
    """

    def __init__(self, exits: int, device: torch.device, where: str) -> None:
        self.where = where
        # MPS has no float64; everywhere else it makes the sum independent of the number of steps.
        wide = torch.float32 if device.type == "mps" else torch.float64
        self._sums = torch.zeros(2, exits, dtype=wide, device=device)
        self._samples = 0
        self._steps = 0
        self._unchecked: list[Tensor] = []

    def add(self, losses: Tensor, logits: Sequence[Tensor], labels: Tensor) -> None:
        """Counts one batch.

        Args:
            losses: `[exits]`, the batch's mean loss at each exit.
            logits: per exit `[n, classes]`.
            labels: `[n]`.
        """
        hits = (torch.stack([z.detach() for z in logits]).argmax(dim=-1) == labels).sum(dim=1)
        self._sums[0].add_(losses, alpha=len(labels))
        self._sums[1].add_(hits)
        self._samples += len(labels)
        self._steps += 1
        self._unchecked.append(losses)

    def check_finite(self) -> None:
        """Looks at the losses since the last check; this waits for the device, so call it now and then.

        Raises:
            TrainingError: one was NaN or infinite; names the step (from 1) and the exit.
        """
        recent, self._unchecked = self._unchecked, []
        if not recent or bool(self._sums[0].isfinite().all()):
            return
        steps = torch.stack(recent).cpu()
        row, exit = (~steps.isfinite()).nonzero()[0].tolist()
        step = self._steps - len(recent) + row + 1
        raise TrainingError(
            f"The loss became {steps[row, exit].item()} at exit {exit} ({self.where}, step {step}). Checkpoints from "
            "before are untouched. Lower lr, add warmup, use precision='fp32', or look for NaN in the inputs."
        )

    def accuracy(self) -> list[float]:
        """Share of hits per exit so far; waits for the device."""
        return [float(hits) / max(self._samples, 1) for hits in self._sums[1].tolist()]

    def scores(self, reduce: Callable[[Tensor], Tensor]) -> Scores:
        """Means over all samples of all processes.

        Args:
            reduce: sums a tensor over the processes.

        Raises:
            TrainingError: no sample was seen, or a loss was not finite.
        """
        self.check_finite()
        count = self._sums.new_full((1,), self._samples)
        total = reduce(torch.cat([self._sums.flatten(), count])).cpu()
        samples = int(total[-1])
        if not samples:
            raise TrainingError(
                f"The loader gave no batch ({self.where}). Check the split, drop_last, and that a generator is not "
                "used up: the loader is iterated once per epoch."
            )
        loss, accuracy = (total[:-1] / samples).view(2, -1).tolist()
        return Scores(tuple(loss), tuple(accuracy), samples)
