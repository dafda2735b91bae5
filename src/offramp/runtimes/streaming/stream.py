"""A stream that others push into: one thread runs the stages for any number of callers, and keeps deadlines."""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from offramp.decisions import Decisions
from offramp.errors import StreamError
from offramp.runtimes.staged import StagedRuntime
from offramp.runtimes.streaming.collecting import collected
from offramp.runtimes.streaming.line import Answer, Landing, Line
from offramp.runtimes.streaming.reading import in_order
from offramp.runtimes.streaming.scheduler import Fire, Scheduler
from offramp.runtimes.streaming.settings import Settings
from offramp.runtimes.streaming.stage_times import StageTimes

RESERVE = 0.2
"""Share of `max_wait` kept for what no estimate covers: single slow calls, waking threads up, handing answers out."""
SHORT = 0.02
"""Seconds: what takes less is measured three times at the start."""


class Stream:
    """Takes requests from any thread and answers each with a future. A context manager; made by `runtime.serve()`.

    The processor is never idle while a row waits (unless `linger` says so): rows gain company only while others run.
    With `max_wait`, all stages are timed at the start, and their times are kept up to date.

    Args:
        runtime: runs the stages.
        settings: see there.

    Raises:
        StreamError: `max_wait` is less than one row takes.
        StageError: a stage failed while it was timed.
    """

    def __init__(self, runtime: StagedRuntime, settings: Settings) -> None:
        stages, target = len(runtime.programs), settings.target
        # With so many rows, one queue at least is full while another fills up.
        self._room = settings.in_flight or 2 * stages * target
        times, wait = StageTimes(stages, target), math.inf
        if settings.max_wait is not None:
            _time_stages(runtime, times)
            wait = _usable(settings.max_wait, least=sum(times.seconds(k, 1) for k in range(stages)))
        self._times = times
        self._scheduler = Scheduler(stages, target, wait, settings.linger, self._room, times.seconds)
        self._line = Line(runtime)
        self._futures: dict[int, Future[Decisions]] = {}
        self._state = threading.Condition()
        self._door = threading.Lock()
        self._closed = self._given_up = self._crowded = False
        self._worker = threading.Thread(target=self._work, name="offramp stream", daemon=True)
        self._worker.start()

    def submit(self, inputs: Any) -> Future[Decisions]:
        """Lets a request in, to be answered by its deadline; the future gives what `runtime(inputs)` would.

        Waits while too much is under way for another request to be answered in time; the deadline counts from when it
        is let in. The tensors must not be changed before the answer is there.

        Raises:
            InputError: the inputs do not fit the model.
            StreamError: the stream is closed.
        """
        tensors = self._line.runtime.entrance.tensors(inputs)
        rows, future = len(tensors[0]), Future[Decisions]()
        future.set_running_or_notify_cancel()  # its rows share batches with others, so it cannot be cancelled
        # One caller at a time waits for room, so that small requests do not hold up a large one for ever.
        with self._door, self._state:
            self._wait_for_room(rows)
            number = self._scheduler.push(rows, time.monotonic())
            self._line.enter(number, tensors)
            self._futures[number] = future
            self._state.notify_all()
        return future

    def map(self, requests: Iterable[Any]) -> Iterator[Decisions]:
        """Answers in the order of the requests, which are read in a thread of their own: they may come when they like.

        Raises:
            InputError: a request does not fit the model.
            StageError: a part of the network failed.
            Exception: whatever `requests` raised. All three come behind the answers to the requests before.
        """
        return in_order(self.submit, requests, self._room)

    def close(self, finish: bool = True) -> None:
        """Ends the stream. Requests that wait to be let in are refused; closing again does nothing.

        Args:
            finish: answer what has been let in; otherwise those futures fail with a StreamError.
        """
        with self._state:
            self._closed = True
            self._given_up = self._given_up or not finish
            self._state.notify_all()
        self._worker.join()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close(finish=kind is None)

    def _wait_for_room(self, rows: int) -> None:
        while not self._closed and not self._scheduler.admits(rows, time.monotonic()):
            self._crowded = True
            self._state.notify_all()
            self._state.wait()
        self._crowded = False
        if self._closed:
            raise StreamError("The stream is closed: open another with runtime.serve().")

    def _work(self) -> None:
        try:
            while (fire := self._next()) is not None:
                self._carry_out(fire)
        finally:
            with self._state:
                self._closed = True
                unanswered, self._futures = self._futures, {}
                self._state.notify_all()
            for future in unanswered.values():
                future.set_exception(StreamError("The stream was closed before this request was answered."))

    def _next(self) -> Fire | None:
        """Waits for the next firing; None when the stream has ended."""
        with self._state:
            while not self._given_up:
                now = time.monotonic()
                action = self._scheduler.next(now, stuck=self._crowded, ended=self._closed)
                if isinstance(action, Fire):
                    return action
                if self._closed:
                    return None
                self._state.wait(None if action.until == math.inf else max(action.until - now, 0.0))
        return None

    def _carry_out(self, fire: Fire) -> None:
        start = time.monotonic()
        with self._state:
            parts = self._line.take(fire)
        landing = self._line.run(fire.stage, parts)
        for future, answer in self._land(fire, landing):
            if isinstance(answer, Decisions):
                future.set_result(answer)
            else:
                future.set_exception(answer)
        self._times.learn(fire.stage, len(fire.tickets), time.monotonic() - start)

    def _land(self, fire: Fire, landing: Landing) -> list[tuple[Future[Decisions], Answer]]:
        with self._state:
            answers = self._line.land(fire, landing)
            self._scheduler.landed(fire, landing.going)
            self._state.notify_all()
            return [(self._futures.pop(number), answer) for number, answer in answers]


def answers(runtime: StagedRuntime, requests: Iterable[Any], settings: Settings) -> Iterator[Decisions]:
    """The answers to requests in order, with deadlines or without; see `Runtime.stream`."""
    if settings.max_wait is None:
        return collected(runtime, requests, settings)
    return _served(runtime, requests, settings)


def _served(runtime: StagedRuntime, requests: Iterable[Any], settings: Settings) -> Iterator[Decisions]:
    with Stream(runtime, settings) as stream:
        yield from stream.map(requests)


def _usable(max_wait: float, least: float) -> float:
    """What of `max_wait` the scheduler may use, given how long one row takes through all stages."""
    usable = (1 - RESERVE) * max_wait
    if least <= usable:
        return usable
    raise StreamError(
        f"max_wait={max_wait} s cannot be kept: one row alone takes {least:.4f} s through all stages, and "
        f"{RESERVE:.0%} of max_wait is kept in reserve. Give several times as much, e.g. {4 * least:.3f}."
    )


@torch.no_grad()
def _time_stages(runtime: StagedRuntime, times: StageTimes) -> None:
    """Runs every stage at every size, to warm it up and to time it, on rows that all go on."""
    signature = runtime.entrance.signature
    positional, named = signature.unflatten(signature.batch(times.sizes[-1], runtime.entrance.device))
    tensors: Sequence[Tensor] = runtime.entrance.tensors(named or positional)
    for stage in range(len(runtime.programs)):
        for size in times.sizes:
            times.learn(stage, size, _timed(runtime, stage, [t[:size] for t in tensors]))
        _, _, tensors = runtime.run(stage, tensors)


def _timed(runtime: StagedRuntime, stage: int, tensors: Sequence[Tensor]) -> float:
    """Seconds of one run, without the first, which may compile."""
    seconds: list[float] = []
    for _ in range(4):
        own = [t.clone() for t in tensors]  # a stage may overwrite what it is given
        start = time.monotonic()
        runtime.run(stage, own)
        seconds.append(time.monotonic() - start)
        if len(seconds) > 1 and seconds[-1] > SHORT:
            break
    return statistics.median(seconds[1:])
