"""Measured time: who is called when, and the summary."""

from __future__ import annotations

import time

import pytest

from offramp.latency import Timing, measure


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
