"""Measured time: who is called when, and the summary."""

from __future__ import annotations

import random
import time

import pytest
import torch

from offramp.latency import Laps, Timing, measure, measure_requests, requests


def test_calls_alternate_and_warm_up_rounds_do_not_count():
    order: list[str] = []
    found = measure({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3, warm_up=2)
    assert order == ["a", "b"] * 5
    assert (found["a"].rounds, found["b"].rounds) == (3, 3)


def test_a_slow_call_takes_longer():
    found = measure({"slow": lambda: time.sleep(0.02), "fast": lambda: None}, rounds=3, warm_up=0)
    assert found["slow"].median >= 0.02
    assert found["fast"].median < found["slow"].low


def test_the_summary_is_of_quantiles():
    timing = Timing.of([float(i) for i in range(10, -1, -1)])
    assert (timing.median, timing.low, timing.high, timing.rounds) == (5.0, 1.0, 9.0, 11)
    assert timing.to_dict() == {"median": 5.0, "low": 1.0, "high": 9.0, "rounds": 11}


def test_one_round():
    assert Timing.of([0.5]) == Timing(0.5, 0.5, 0.5, 1)


def test_an_error_in_a_call_is_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        measure({"broken": lambda: 1 / 0})


def test_requests_are_timed_one_by_one_with_any_clock():
    now = iter(range(100))
    found = measure_requests({"a": [lambda: None] * 3}, rounds=2, warm_up=1, clock=lambda: float(next(now)) ** 2)
    # Two readings per request, and three requests to warm up: 7² - 6² and so on.
    assert found["a"].seconds == ((13.0, 17.0, 21.0), (25.0, 29.0, 33.0))
    assert found["a"].totals == [51.0, 87.0]
    assert (found["a"].median, found["a"].requests) == (69.0, 3)


def test_the_order_is_drawn_anew_in_every_round():
    seen: list[str] = []
    calls = {name: [lambda name=name: seen.append(name)] * 2 for name in "abc"}
    measure_requests(calls, rounds=20, warm_up=0, order=random.Random(0))
    rounds = [seen[i : i + 6] for i in range(0, 120, 6)]
    assert all(sorted(r) == list("aabbcc") and r[::2] == r[1::2] for r in rounds)
    assert len({tuple(r) for r in rounds}) == 6


def test_quantiles_of_requests_are_over_all_rounds():
    laps = Laps(((1.0, 2.0), (3.0, 4.0), (5.0, 6.0)))
    assert laps.per_request(0.0, 0.4, 1.0) == [1.0, 3.0, 6.0]


def test_a_request_ends_with_predictions():
    calls = requests(lambda x: x * 2, [torch.tensor([[0.0, 1.0]]), torch.tensor([[3.0, 1.0], [0.0, 2.0]])])
    assert [call().tolist() for call in calls] == [[1], [0, 1]]
