"""A stream without deadlines: requests are pulled as they are needed, and everything waits for full firings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from offramp.decisions import Decisions
from offramp.runtimes.staged import StagedRuntime
from offramp.runtimes.streaming.line import Answer, Line
from offramp.runtimes.streaming.scheduler import Fire, Scheduler
from offramp.runtimes.streaming.settings import Settings

ROOM = 32
"""Rows between the first and the last request that is not given back yet, in targets, unless the caller says."""


def collected(runtime: StagedRuntime, requests: Iterable[Any], settings: Settings) -> Iterator[Decisions]:
    """Answers in the order of the requests, in the caller's own thread.

    Nothing here depends on time: the same requests run in the same batches again.

    Args:
        runtime: runs the stages.
        requests: what `runtime` takes, one after the other.
        settings: of which `target` and `in_flight` count.

    Raises:
        InputError: a request does not fit the model.
        StageError: a part of the network failed.
        Exception: whatever `requests` raised. All three come behind the answers to the requests before.
    """
    pull = _Pull(runtime, settings)
    source, failure, ended = iter(requests), None, False
    while not ended or pull.held:
        action = pull.scheduler.next(0.0, stuck=pull.full, ended=ended)
        if isinstance(action, Fire):
            pull.carry_out(action)
        else:
            try:
                pull.enter(next(source))
            except StopIteration:
                ended = True
            except Exception as error:  # raised again when all that came before is answered
                failure, ended = error, True
        yield from pull.answered()
    if failure is not None:
        raise failure


class _Pull:
    """The state of one such stream: what has been let in and not given back yet."""

    def __init__(self, runtime: StagedRuntime, settings: Settings) -> None:
        self.line = Line(runtime)
        self.scheduler = Scheduler(len(runtime.programs), settings.target, linger=float("inf"))
        self.held = 0
        self._room = settings.in_flight or ROOM * settings.target
        self._answers: dict[int, Answer] = {}
        self._sizes: list[int] = []
        self._given = 0

    @property
    def full(self) -> bool:
        """Whether no more may be let in."""
        return self.held >= self._room

    def enter(self, request: Any) -> None:
        tensors = self.line.runtime.entrance.tensors(request)
        rows = len(tensors[0])
        self.line.enter(self.scheduler.push(rows, 0.0), tensors)
        self._sizes.append(rows)
        self.held += rows

    def carry_out(self, fire: Fire) -> None:
        landing = self.line.run(fire.stage, self.line.take(fire))
        self._answers.update(self.line.land(fire, landing))
        self.scheduler.landed(fire, landing.going)

    def answered(self) -> Iterator[Decisions]:
        """What can be given back now, in order."""
        while self._given in self._answers:
            answer = self._answers.pop(self._given)
            if not isinstance(answer, Decisions):
                raise answer
            self.held -= self._sizes[self._given]
            self._given += 1
            yield answer
