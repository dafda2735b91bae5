"""What taking exits gives: per sample its logits, the exit it took, and what that cost."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Decisions:
    """Outcome of a policy on a batch or a recording, rows in the order of the input.

    Attributes:
        logits: `[n, classes]`, those of the exit that each row took.
        exits: `[n]` int64, 0 = earliest; the largest number is the backbone's own output.
        macs: `[n]` float64, multiply-accumulates spent on each row, heads included; None where costs are unknown.
        exit_count: number of exits of the model, the final one included.
        levels: `[n]` int64, how finely each row is answered under a hierarchy: 0 with its class, 1 and above with a
            group of classes, see `offramp.Hierarchy`; None where all are answered with classes.
    """

    logits: Tensor
    exits: Tensor
    exit_count: int
    macs: Tensor | None = None
    levels: Tensor | None = None

    def __len__(self) -> int:
        return int(self.exits.shape[0])

    @property
    def predictions(self) -> Tensor:
        """`[n]` int64, the class with the largest logit."""
        return self.logits.argmax(dim=-1)

    @property
    def shares(self) -> Tensor:
        """`[exits]` float64, share of the rows that left at each exit; sums to 1."""
        return torch.bincount(self.exits, minlength=self.exit_count).double() / max(len(self), 1)

    @property
    def mean_macs(self) -> float:
        """Mean multiply-accumulates per row, heads included; NaN where costs are unknown."""
        return float("nan") if self.macs is None else float(self.macs.mean())

    def accuracy(self, labels: Tensor) -> float:
        """Share of rows whose prediction equals the label `[n]`."""
        return float((self.predictions == labels.to(self.predictions.device)).double().mean())
