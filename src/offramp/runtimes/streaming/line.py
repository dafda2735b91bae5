"""The tensors behind the scheduler's tickets: rows that wait for a stage, and answers that are not complete yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor

from offramp.decisions import Decisions
from offramp.errors import StageError
from offramp.runtimes.ledger import going_on, written
from offramp.runtimes.staged import StagedRuntime
from offramp.runtimes.streaming.scheduler import Fire
from offramp.segments import Plan

Chunk = Sequence[Tensor]
"""Tensors of the same rows: what crosses a cut."""

Answer = Decisions | StageError


class Queue:
    """Rows that wait for one stage, first in, first out."""

    def __init__(self) -> None:
        self._chunks: deque[Chunk] = deque()

    def put(self, chunk: Chunk) -> None:
        """Lines rows up at the end."""
        self._chunks.append(chunk)

    def take(self, rows: int) -> list[Chunk]:
        """Removes so many rows from the head; there must be as many."""
        taken: list[Chunk] = []
        while rows:
            chunk = self._chunks.popleft()
            if len(chunk[0]) > rows:
                self._chunks.appendleft([t[rows:] for t in chunk])
                chunk = [t[:rows] for t in chunk]
            taken.append(chunk)
            rows -= len(chunk[0])
        return taken


class Request:
    """What is known of the answer to one request.

    Args:
        rows: how many it has.
    """

    def __init__(self, rows: int) -> None:
        self.missing = rows
        self._logits: Tensor | None = None
        self._exits = torch.empty(rows, dtype=torch.long)

    def settle(self, rows: Sequence[int], logits: Tensor, exit: int) -> None:
        """Enters the logits `[r, classes]` of r of its rows, and the exit that they took."""
        places = torch.tensor(rows)
        if self._logits is None:
            self._logits = logits.new_empty(len(self._exits), *logits.shape[1:])
        self._logits = written(self._logits, places.to(logits.device), logits)
        self._exits[places] = exit
        self.missing -= len(rows)

    def decisions(self, plan: Plan) -> Decisions:
        """The answer, when no row is missing."""
        assert self._logits is not None
        return plan.decisions(self._logits, self._exits.to(self._logits.device))


@dataclass(frozen=True)
class Landing:
    """What a firing gave.

    Attributes:
        logits: `[m, classes]`, of all rows.
        going: places of the rows that go on, in order.
        chunk: tensors of the rows that go on.
        error: set where the stage failed; then nothing else is.
    """

    logits: Tensor = field(default_factory=lambda: torch.empty(0))
    going: Sequence[int] = ()
    chunk: Chunk = ()
    error: StageError | None = None


class Line:
    """Carries out what the scheduler chooses. Only `run` may be called while another thread calls something here.

    Args:
        runtime: has the programs and the plan.
    """

    def __init__(self, runtime: StagedRuntime) -> None:
        self.runtime = runtime
        self._queues = [Queue() for _ in runtime.programs]
        self._requests: dict[int, Request] = {}

    def enter(self, number: int, tensors: Chunk) -> None:
        """Lines a request up for the first stage, under the number that the scheduler gave it."""
        self._requests[number] = Request(len(tensors[0]))
        self._queues[0].put(tensors)

    def take(self, fire: Fire) -> list[Chunk]:
        """The tensors for a firing, in parts."""
        return self._queues[fire.stage].take(len(fire.tickets))

    @torch.no_grad()
    def run(self, stage: int, parts: Sequence[Chunk]) -> Landing:
        """Runs a stage on the rows of these parts, and tells who goes on."""
        try:
            return self._run(stage, parts[0] if len(parts) == 1 else self.runtime.rows.join(parts))
        except StageError as error:
            return Landing(error=error)
        except Exception as error:  # joining the parts, or picking those who go on, may run out of memory too
            rows = sum(len(part[0]) for part in parts)
            return Landing(error=StageError.of(self.runtime.names[stage], rows, error))

    def land(self, fire: Fire, landing: Landing) -> list[tuple[int, Answer]]:
        """Enters what a firing gave: the numbers of the requests that it completed, and their answers.

        Where it failed, those are all requests with rows in it. Their other rows, if any, run for nobody.
        """
        if landing.error is not None:
            failed = sorted({ticket.request for ticket in fire.tickets})
            return [(number, landing.error) for number in failed if self._requests.pop(number, None) is not None]
        if landing.going:
            self._queues[fire.stage + 1].put(landing.chunk)
        going = set(landing.going)
        complete: list[tuple[int, Answer]] = []
        leaving = [i for i in range(len(fire.tickets)) if i not in going]
        # A queue is first in, first out, so the rows of a request stand together.
        for number, group in groupby(leaving, key=lambda i: fire.tickets[i].request):
            request = self._requests.get(number)
            if request is None:  # it has failed
                continue
            places = list(group)
            rows = [fire.tickets[i].row for i in places]
            request.settle(rows, landing.logits[places], self.runtime.plan.stops[fire.stage])
            if not request.missing:
                complete.append((number, self._requests.pop(number).decisions(self.runtime.plan)))
        return complete

    def _run(self, stage: int, tensors: Chunk) -> Landing:
        logits, score, carry = self.runtime.run(stage, tensors)
        if score is None:
            if logits.is_cuda:  # an answer that is given out is there
                torch.cuda.current_stream(logits.device).synchronize()
            return Landing(logits)
        index = going_on(score, self.runtime.plan.thresholds[stage])
        going = carry if len(index) == len(logits) else self.runtime.rows.keep(carry, index)
        return Landing(logits, index.tolist(), going)
