"""Requests from an iterator, read in a thread of their own, and their answers in order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

from offramp.decisions import Decisions

Answers = queue.SimpleQueue["Future[Decisions] | None"]


def in_order(submit: Callable[[Any], Future[Decisions]], requests: Iterable[Any], room: int) -> Iterator[Decisions]:
    """Submits every request and gives the answers in their order.

    When the reader of the answers stops early, the thread ends with the next request that the source gives it.

    Args:
        submit: lets a request in.
        requests: the source; its `next` may take as long as it likes.
        room: most answers that are held for the reader.
    """
    futures: Answers = queue.SimpleQueue()
    places, stopped = threading.Semaphore(room), threading.Event()

    def read() -> None:
        try:
            for request in requests:
                futures.put(submit(request))
                places.acquire()
                if stopped.is_set():
                    return
        except BaseException as error:  # SystemExit too: otherwise the reader would take it for the end
            futures.put(_failed(error))
        finally:
            futures.put(None)

    threading.Thread(target=read, name="offramp stream source", daemon=True).start()
    try:
        while (future := futures.get()) is not None:
            yield future.result()
            places.release()
    finally:
        stopped.set()
        places.release()


def _failed(error: BaseException) -> Future[Decisions]:
    future = Future[Decisions]()
    future.set_exception(error)
    return future
