"""When which stage runs, for how many rows: a state machine without tensors, threads or a clock of its own.

Every queue is first in, first out, and a firing takes the head of one, so rows never overtake each other: the rows in a
deeper queue are never younger than those in a shallower one. From that follows the order in which queues fire:

- Enough rows for a full firing: the deepest such queue first. Its rows are the oldest, their answers free the most, and
  what waits stays bounded.
- Nothing more to come for now: the longest queue first, the deepest of equals. A long one loses least by not waiting,
  and what arrives meanwhile finds the short ones longer.
- Nothing more to come at all: the shallowest queue first. What goes on from it joins the rows that wait further down,
  and one firing serves both.
- A deadline is near: the deepest queue first, which is the order of the deadlines.

A firing is only chosen when every deadline can still be kept behind it, even if none of its rows left. As long as
stages take no longer than estimated, no deadline is missed by a row that was let in by `admits`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

BACKLOG = 0.5
"""Share of `max_wait` that rows already let in may need when another comes; the rest is time to wait for company."""


class Ticket(NamedTuple):
    """One row on its way.

    Attributes:
        request: number of the request that it belongs to.
        row: its place there.
        deadline: when its answer must be out, in seconds of the clock.
    """

    request: int
    row: int
    deadline: float


@dataclass(frozen=True)
class Fire:
    """Run this stage on these rows now, the head of its queue."""

    stage: int
    tickets: tuple[Ticket, ...]


@dataclass(frozen=True)
class Wait:
    """Nothing to do before this moment, or before something is pushed; infinite where nothing waits."""

    until: float


Queues = list[list[Ticket]]


class Scheduler:
    """Queues of tickets, one per stage, and the choice of the next firing. One stage runs at a time.

    Args:
        stages: how many there are.
        target: rows of a full firing; more never run together.
        max_wait: seconds from a request's arrival to its deadline.
        linger: seconds without an arrival after which nothing more is expected for now.
        room: most rows under way.
        seconds: estimate of a stage's time for a number of rows up to `target`, growing with the rows.

    Example:
        >>> scheduler = Scheduler(stages=2, target=2, linger=1.0)
        >>> first = scheduler.push(rows=1, now=0.0)
        >>> scheduler.next(now=0.0)
        Wait(until=1.0)
        >>> second = scheduler.push(rows=1, now=0.5)
        >>> fire = scheduler.next(now=0.5)
        >>> fire.stage, [ticket.request for ticket in fire.tickets]
        (0, [0, 1])
        >>> scheduler.landed(fire, going=[1])
        >>> scheduler.next(now=2.0).stage
        1
    """

    def __init__(
        self,
        stages: int,
        target: int,
        max_wait: float = math.inf,
        linger: float = 0.0,
        room: float = math.inf,
        seconds: Callable[[int, int], float] = lambda stage, rows: 0.0,
    ) -> None:
        self.target = target
        self.max_wait = max_wait
        self.linger = linger
        self.room = room
        self.seconds = seconds
        self.rows = 0
        self._queues: Queues = [[] for _ in range(stages)]
        self._running: Fire | None = None
        self._requests = 0
        self._newest = -math.inf

    def admits(self, rows: int, now: float) -> bool:
        """Whether a request of so many rows can be let in without endangering a deadline, its own included.

        When nothing is under way, any request is let in.
        """
        if self.rows == 0:
            return True
        if self.rows + rows > self.room:
            return False
        if self.max_wait == math.inf:
            return True
        queues, running = self._behind(self._running)
        # Rows that arrive join the last firing of the first queue, if that one is not full yet.
        joined = queues[0][len(queues[0]) // self.target * self.target :]
        queues[0] = queues[0] + [Ticket(-1, 0, math.inf)] * rows
        need = running + sum(self._need(k, len(part)) for k, part in self._firings(queues))
        return need <= BACKLOG * self.max_wait and (not joined or now + need <= joined[0].deadline)

    def push(self, rows: int, now: float) -> int:
        """Lets a request in; gives its number, counted from 0."""
        number = self._requests
        self._requests += 1
        self._queues[0] += [Ticket(number, row, now + self.max_wait) for row in range(rows)]
        self.rows += rows
        self._newest = now
        return number

    def next(self, now: float, stuck: bool = False, ended: bool = False) -> Fire | Wait:
        """What to do at this moment. A firing that is given must be run, and `landed` called behind it.

        Args:
            now: seconds of the clock.
            stuck: nothing more comes before rows have left here.
            ended: nothing more comes.
        """
        waiting = [k for k, queue in enumerate(self._queues) if queue]
        if not waiting:
            return Wait(math.inf)
        chosen = self._chosen(waiting, ended, idle=stuck or now >= self._newest + self.linger)
        if chosen is not None:
            return self._start(chosen if self._affords(chosen, waiting[-1], now) else waiting[-1])
        latest = self._latest_start(self._queues)
        return self._start(waiting[-1]) if now >= latest else Wait(min(latest, self._newest + self.linger))

    def landed(self, fire: Fire, going: Sequence[int]) -> None:
        """The firing is over.

        Args:
            fire: as it was given by `next`.
            going: places among its tickets of the rows that go on to the next stage, in order.
        """
        self._running = None
        self.rows -= len(fire.tickets) - len(going)
        if going:
            self._queues[fire.stage + 1] += [fire.tickets[i] for i in going]

    def _chosen(self, waiting: Sequence[int], ended: bool, idle: bool) -> int | None:
        """The queue that fires if deadlines permit, among those with rows; None where all wait for company."""
        full = [k for k in waiting if len(self._queues[k]) >= self.target]
        if full:
            return full[-1]
        if ended:
            return waiting[0]
        return max(waiting, key=lambda k: (len(self._queues[k]), k)) if idle else None

    def _start(self, stage: int) -> Fire:
        self._running = self._head(stage)
        del self._queues[stage][: self.target]
        return self._running

    def _head(self, stage: int) -> Fire:
        return Fire(stage, tuple(self._queues[stage][: self.target]))

    def _affords(self, stage: int, deepest: int, now: float) -> bool:
        """Whether the queues that this firing leaves behind could still be served in time, if none of its rows left."""
        if stage == deepest or self.max_wait == math.inf:
            return True
        fire = self._head(stage)
        queues, seconds = self._behind(fire)
        queues[stage] = queues[stage][len(fire.tickets) :]
        return now + seconds <= self._latest_start(queues)

    def _behind(self, fire: Fire | None) -> tuple[Queues, float]:
        """The queues behind a firing none of whose rows leaves early, and how long it takes."""
        queues = list(self._queues)
        if fire is None:
            return queues, 0.0
        if fire.stage + 1 < len(queues):
            queues[fire.stage + 1] = queues[fire.stage + 1] + list(fire.tickets)
        return queues, self.seconds(fire.stage, len(fire.tickets))

    def _latest_start(self, queues: Queues) -> float:
        """When to start at the latest so that all deadlines are kept, served in their order, if no row left early."""
        latest, need = math.inf, 0.0
        for stage, part in self._firings(queues):
            need += self._need(stage, len(part))
            latest = min(latest, part[0].deadline - need)
        return latest

    def _firings(self, queues: Queues) -> list[tuple[int, list[Ticket]]]:
        """All rows, cut into firings, in the order of their deadlines: the deepest first."""
        return [
            (stage, queues[stage][i : i + self.target])
            for stage in reversed(range(len(queues)))
            for i in range(0, len(queues[stage]), self.target)
        ]

    def _need(self, stage: int, rows: int) -> float:
        """Seconds for so many rows from this stage to the end."""
        return sum(self.seconds(k, rows) for k in range(stage, len(self._queues)))
