"""The book of one batch: who is still in, what has been decided, and the rule by which rows leave."""

from __future__ import annotations

import torch
from torch import Tensor

from offramp.decisions import Decisions
from offramp.segments import Plan


def going_on(score: Tensor, threshold: float) -> Tensor:
    """Index `[r]` of the rows that do not leave here, by their scores `[m]`."""
    # Not `score <= threshold`: a score that is NaN goes on.
    return (~(score > threshold)).nonzero().squeeze(1)


def written(answers: Tensor, rows: Tensor, logits: Tensor) -> Tensor:
    """Answers `[n, classes]` with the logits `[r, classes]` in their rows `[r]`; in place where the dtypes allow it."""
    # Where exits differ in dtype (a backbone in half precision that ends in `.float()`), the wider one is kept.
    dtype = torch.promote_types(answers.dtype, logits.dtype)
    return answers.to(dtype).index_copy_(0, rows, logits.to(dtype))


class Ledger:
    """Takes the answers at each stop and says which rows go on.

    The answers at the first stop where a row leaves, of all rows, become the output; rows that go on are overwritten
    later. Asking which rows stay is the one synchronisation per stop.

    Args:
        plan: stops and thresholds.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.stop = 0
        self.logits: Tensor | None = None
        self._rows: Tensor | None = None
        self._exits = torch.empty(0)

    def settle(self, logits: Tensor, score: Tensor | None) -> Tensor | None:
        """Enters a stop.

        Args:
            logits: `[m, classes]` that the rows still in are answered with at the next stop of the plan.
            score: `[m]` of the criterion there, larger = surer; None at the last stop, where everything leaves.

        Returns:
            Index `[r]` of the rows among the m that go on; None when all of them do, and at the last stop.
        """
        exit = self.plan.stops[self.stop]
        if score is None:
            self._write(logits, exit)
            return None
        index = self._going_on(score)
        self.stop += 1
        if index is None:
            return None
        self._write(logits, exit)
        self._rows = index if self._rows is None else self._rows[index]
        return index

    def _going_on(self, score: Tensor) -> Tensor | None:
        threshold = self.plan.thresholds[self.stop]
        if len(score) == 1:  # one comparison is most of what a stop costs a single row
            return score.new_empty(0, dtype=torch.long) if bool(score > threshold) else None
        index = going_on(score, threshold)
        return None if len(index) == len(score) else index

    def _write(self, logits: Tensor, exit: int) -> None:
        if self.logits is None or self._rows is None:
            self.logits = logits.clone()
            self._exits = torch.full((len(logits),), exit, device=logits.device)
        else:
            self.logits = written(self.logits, self._rows, logits)
            self._exits[self._rows] = exit

    def decisions(self) -> Decisions:
        """What has been decided, once no row is left."""
        assert self.logits is not None
        return self.plan.decisions(self.logits, self._exits)
