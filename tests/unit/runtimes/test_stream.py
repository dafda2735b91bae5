"""Streams as their users meet them: order, errors, closing, deadlines, room."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import offramp as ofr
from offramp.errors import InputError, StageError, StreamError
from offramp.runtimes import Runtime, StagedRuntime

Program = Callable[..., Any]
WAITS = [None, 5.0]
"""Without deadlines, and with one that is far away: the two forms of a stream."""


def policy_that_splits(model: ofr.ExitModel, inputs: Tensor) -> ofr.Policy:
    """About half of the rows leave at each early exit."""
    margin = ofr.criteria.Margin()
    with torch.no_grad():
        return ofr.Policy(margin, [float(margin.score(logits).median()) for logits in model(inputs)[:-1]])


@pytest.fixture(scope="module")
def runtime(tiny_mlp) -> StagedRuntime:
    model = tiny_mlp.attach()
    return ofr.deploy(model, policy_that_splits(model, tiny_mlp.batch(64))).staged()


@pytest.fixture
def requests(tiny_mlp) -> list[Tensor]:
    return [tiny_mlp.batch(1 + seed % 3, seed) for seed in range(12)]


def changed(runtime: StagedRuntime, change: Callable[[int, Program], Program]) -> StagedRuntime:
    """The same runtime over other programs."""
    programs = [change(k, program) for k, program in enumerate(runtime.programs)]
    return StagedRuntime(runtime.plan, programs, runtime.names, runtime.entrance, runtime.backend)


def counting(runtime: StagedRuntime, sizes: list[list[int]]) -> StagedRuntime:
    """Notes the rows of every firing, by stage."""

    def change(k: int, program: Program) -> Program:
        def counted(*tensors: Tensor) -> Any:
            sizes[k].append(len(tensors[0]))
            return program(*tensors)

        return counted

    return changed(runtime, change)


def failing(runtime: StagedRuntime, stage: int, fails: Callable[[Tensor], bool]) -> StagedRuntime:
    """A stage that raises on some inputs."""

    def change(k: int, program: Program) -> Program:
        def perhaps(*tensors: Tensor) -> Any:
            if k == stage and fails(tensors[0]):
                raise MemoryError("no memory left")
            return program(*tensors)

        return perhaps

    return changed(runtime, change)


def assert_equal(got: ofr.Decisions, expected: ofr.Decisions) -> None:
    assert torch.equal(got.exits, expected.exits)
    assert torch.equal(got.macs, expected.macs)
    assert got.exit_count == expected.exit_count
    torch.testing.assert_close(got.logits, expected.logits)


def assert_answers(runtime: Runtime, got: list[ofr.Decisions], requests: list[Tensor]) -> None:
    for decisions, inputs in zip(got, requests, strict=True):
        assert_equal(decisions, runtime(inputs))


def test_every_stage_but_for_the_last_rows_runs_on_the_target(runtime, tiny_mlp):
    sizes: list[list[int]] = [[], [], []]
    answers = list(counting(runtime, sizes).stream((tiny_mlp.batch(1, seed) for seed in range(50)), target=4))
    assert len(answers) == 50
    for reached in sizes:
        assert set(reached[:-1]) == {4}
    assert [sum(reached) for reached in sizes] == [
        sum(int(a.exits) >= k for a in answers) for k in range(3)
    ]  # nothing runs for nobody


def test_a_large_request_is_run_in_parts(runtime, tiny_mlp):
    sizes: list[list[int]] = [[], [], []]
    request = tiny_mlp.batch(10)
    assert_answers(runtime, list(counting(runtime, sizes).stream([request], target=4)), [request])
    assert sizes[0] == [4, 4, 2]


@pytest.mark.parametrize("max_wait", WAITS)
def test_no_requests_no_answers(runtime, max_wait):
    assert list(runtime.stream([], max_wait=max_wait)) == []


def test_requests_are_pulled_only_as_far_as_there_is_room(runtime, tiny_mlp):
    pulled = []

    def source() -> Iterator[Tensor]:
        for seed in range(100):
            pulled.append(seed)
            yield tiny_mlp.batch(1, seed)

    answers = runtime.stream(source(), target=50, in_flight=5)
    next(answers)
    assert len(pulled) == 5


def test_answers_that_nobody_takes_hold_the_source_back(runtime, tiny_mlp):
    pulled = []

    def source() -> Iterator[Tensor]:
        for seed in range(100):
            pulled.append(seed)
            yield tiny_mlp.batch(1, seed)

    answers = runtime.stream(source(), target=4, max_wait=5.0, in_flight=5)
    next(answers)
    time.sleep(0.1)
    assert len(pulled) <= 7  # five answers held, one just taken, one at the door
    answers.close()


@pytest.mark.parametrize("max_wait", WAITS)
def test_an_error_of_the_source_comes_behind_the_answers_to_what_it_gave(runtime, requests, max_wait):
    def source() -> Iterator[Tensor]:
        yield from requests
        raise ConnectionError("the camera is gone")

    got: list[ofr.Decisions] = []
    with pytest.raises(ConnectionError, match="camera"):
        got.extend(runtime.stream(source(), target=4, max_wait=max_wait))
    assert_answers(runtime, got, requests)


@pytest.mark.parametrize("max_wait", WAITS)
def test_a_request_that_does_not_fit_is_refused_behind_the_answers_before_it(runtime, requests, max_wait):
    got: list[ofr.Decisions] = []
    with pytest.raises(InputError, match="rows of shape"):
        got.extend(runtime.stream([*requests, torch.zeros(1, 7)], target=4, max_wait=max_wait))
    assert_answers(runtime, got, requests)


@pytest.mark.parametrize("max_wait", WAITS)
@pytest.mark.parametrize("stage", [0, 1])
def test_a_stage_that_fails_is_named_and_the_stream_can_be_used_again(runtime, requests, max_wait, stage):
    broken = [False]
    shaky = failing(runtime, stage, lambda tensor: broken[0])

    def source() -> Iterator[Tensor]:
        for i, inputs in enumerate(requests):
            broken[0] = i > 8
            yield inputs

    got: list[ofr.Decisions] = []
    with pytest.raises(StageError, match=rf"'{runtime.names[stage]}' failed on \d+ rows .*Pass fewer rows"):
        got.extend(shaky.stream(source(), target=2, max_wait=max_wait))
    assert_answers(runtime, got, requests[: len(got)])
    assert len(got) < len(requests)
    broken[0] = False
    assert_answers(runtime, list(shaky.stream(requests, target=2, max_wait=max_wait)), requests)


def test_a_failure_concerns_only_the_requests_whose_rows_were_in_it(runtime, tiny_mlp):
    poison = torch.full((1, 5), 777.0)
    shaky = failing(runtime, 0, lambda tensor: bool((tensor == 777.0).any()))
    fine = [tiny_mlp.batch(2, seed) for seed in range(3)]
    with shaky.serve(target=2) as stream:
        futures = [stream.submit(inputs) for inputs in fine]
        with pytest.raises(StageError):
            stream.submit(torch.cat([poison, fine[0], fine[0]])).result(timeout=10)
        futures += [stream.submit(inputs) for inputs in fine]
        assert_answers(runtime, [f.result(timeout=10) for f in futures], fine * 2)


def test_what_is_not_joined_in_memory_fails_like_its_stage(runtime, tiny_mlp, monkeypatch):
    def no_memory(*_: object) -> Tensor:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(torch, "cat", no_memory)
    with pytest.raises(StageError, match=f"'{runtime.names[0]}' failed on 2 rows"):
        list(runtime.stream([tiny_mlp.batch(1), tiny_mlp.batch(1)], target=2))


def test_a_closed_generator_asks_the_source_for_nothing_more(runtime, tiny_mlp):
    closed = []

    def source() -> Iterator[Tensor]:
        try:
            while True:
                yield tiny_mlp.batch(1)
        finally:
            closed.append(True)

    answers = runtime.stream(source(), target=4)
    next(answers)
    answers.close()
    assert closed == [True]


def test_a_closed_generator_with_deadlines_leaves_no_thread(runtime, tiny_mlp):
    before = set(threading.enumerate())
    answers = runtime.stream((tiny_mlp.batch(1) for _ in range(10**9)), target=4, max_wait=5.0)
    next(answers)
    assert {t.name for t in set(threading.enumerate()) - before} == {"offramp stream", "offramp stream source"}
    answers.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=10)
    assert set(threading.enumerate()) <= before


def test_an_interrupt_leaves_no_thread(runtime, tiny_mlp):
    before = set(threading.enumerate())
    waiting = []

    def interrupted() -> None:
        with runtime.serve(target=4, linger=float("inf")) as stream:
            waiting.append(stream.submit(tiny_mlp.batch(1)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(StreamError, match="closed before this request was answered"):
        waiting[0].result(timeout=10)
    assert set(threading.enumerate()) <= before


def test_a_source_that_blocks_does_not_hold_up_the_answers_to_what_it_gave(runtime, tiny_mlp):
    source: queue.Queue[Tensor | None] = queue.Queue()
    answers = runtime.stream(iter(source.get, None), target=64, max_wait=5.0)
    for seed in range(3):
        inputs = tiny_mlp.batch(2, seed)
        source.put(inputs)
        assert_equal(next(answers), runtime(inputs))
    source.put(None)
    assert list(answers) == []


def test_a_row_waits_for_company_up_to_its_deadline_and_not_longer(runtime, tiny_mlp):
    with runtime.serve(target=64, max_wait=1.0, linger=float("inf")) as stream:
        start = time.monotonic()
        stream.submit(tiny_mlp.batch(1)).result(timeout=10)
        assert 0.5 < time.monotonic() - start <= 1.0


def test_it_lingers_before_it_runs_a_few_rows(runtime, tiny_mlp):
    sizes: list[list[int]] = [[], [], []]
    with counting(runtime, sizes).serve(target=64, linger=0.3) as stream:
        futures = [stream.submit(tiny_mlp.batch(1, seed)) for seed in range(5)]
        for future in futures:
            future.result(timeout=10)
    assert sizes[0] == [5]


def test_a_full_stream_does_not_linger(runtime, tiny_mlp):
    with runtime.serve(target=64, linger=float("inf"), in_flight=2) as stream:
        futures = [stream.submit(tiny_mlp.batch(1, seed)) for seed in range(4)]
        assert futures[0].result(timeout=10)


def test_closing_answers_what_was_let_in_and_refuses_the_rest(runtime, requests):
    with runtime.serve(target=64, linger=float("inf")) as stream:
        futures = [stream.submit(inputs) for inputs in requests]
    assert_answers(runtime, [future.result(timeout=0) for future in futures], requests)
    with pytest.raises(StreamError, match=r"closed: open another with runtime\.serve\(\)"):
        stream.submit(requests[0])
    stream.close()


def test_closing_wakes_up_whoever_waits_for_room(runtime, tiny_mlp):
    gate = threading.Event()

    def held(k: int, program: Program) -> Program:
        return lambda *tensors: (gate.wait(10), program(*tensors))[1]

    stream = changed(runtime, held).serve(in_flight=1)
    first = stream.submit(tiny_mlp.batch(1))
    raised: list[Exception] = []

    def second() -> None:
        try:
            stream.submit(tiny_mlp.batch(1))
        except StreamError as error:
            raised.append(error)

    waiting = threading.Thread(target=second)
    waiting.start()
    threading.Timer(0.1, gate.set).start()
    stream.close()
    waiting.join(timeout=10)
    assert len(raised) == 1
    assert first.result(timeout=0)


def test_a_request_that_does_not_fit_is_refused_by_submit(runtime):
    with runtime.serve() as stream, pytest.raises(InputError, match="empty"):
        stream.submit(torch.zeros(0, 5))


def test_asyncio_can_wait_for_an_answer(runtime, requests):
    async def ask() -> list[ofr.Decisions]:
        with runtime.serve(target=4) as stream:
            return await asyncio.gather(*(asyncio.wrap_future(stream.submit(inputs)) for inputs in requests))

    assert_answers(runtime, asyncio.run(ask()), requests)


def test_a_deadline_that_one_row_alone_would_miss_is_refused(runtime):
    def slow(k: int, program: Program) -> Program:
        return lambda *tensors: (time.sleep(0.01), program(*tensors))[1]

    with pytest.raises(StreamError, match=r"max_wait=0\.02 s cannot be kept: one row alone takes 0\.\d+"):
        changed(runtime, slow).serve(target=2, max_wait=0.02)


@pytest.mark.parametrize("name", ["target", "max_wait", "in_flight", "linger"])
def test_parameters_out_of_range_are_refused_at_once(runtime, name):
    with pytest.raises(StreamError, match=f"{name}=-1: give"):
        runtime.stream([], **{name: -1})


def test_rows_with_numbers_that_are_none_go_to_the_last_exit(runtime):
    (decisions,) = runtime.stream([torch.full((3, 5), float("nan"))], target=2)
    assert decisions.exits.tolist() == [2, 2, 2]
