from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offramp.runtimes.streaming import StageTimes


@pytest.mark.parametrize(("target", "sizes"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))])
def test_sizes_reach_to_the_target(target, sizes):
    times = StageTimes(1, target)
    assert times.sizes == sizes
    for size in reversed(sizes):
        times.learn(0, size, float(size))
    found = [times.seconds(0, rows) for rows in range(1, target + 1)]
    assert found == [min(size for size in sizes if size >= rows) for rows in range(1, target + 1)]


@given(st.lists(st.tuples(st.integers(1, 13), st.floats(1e-6, 10)), max_size=60))
def test_estimates_grow_with_the_rows(measured):
    times = StageTimes(1, target=13)
    for rows, seconds in measured:
        times.learn(0, rows, seconds)
        found = [times.seconds(0, n) for n in range(1, 14)]
        assert found == sorted(found)


def test_stages_are_learned_apart():
    times = StageTimes(2, target=1)
    times.learn(1, 1, 5.0)
    assert (times.seconds(0, 1), times.seconds(1, 1)) == (0.0, 5.0)


def test_estimates_go_up_faster_than_they_come_down():
    times = StageTimes(1, target=1)
    times.learn(0, 1, 1.0)
    times.learn(0, 1, 11.0)
    assert times.seconds(0, 1) == pytest.approx(4.0)
    times.learn(0, 1, 1.0)
    assert times.seconds(0, 1) == pytest.approx(3.7)


@pytest.mark.parametrize("start", [0.5, 10.0])
def test_estimates_settle_at_what_is_measured(start):
    times = StageTimes(1, target=1)
    times.learn(0, 1, start)
    for _ in range(100):
        times.learn(0, 1, 1.0)
    assert times.seconds(0, 1) == pytest.approx(1.0, rel=1e-3)


def test_where_calls_differ_the_estimate_is_above_their_mean():
    times = StageTimes(1, target=1)
    for i in range(200):
        times.learn(0, 1, 1.0 + 2.0 * (i % 2))
    assert times.seconds(0, 1) > 2.2


def test_a_slow_call_at_a_size_that_never_comes_again_is_forgotten_too():
    times = StageTimes(1, target=64)
    times.learn(0, 64, 1000.0)
    for _ in range(100):
        times.learn(0, 1, 1.0)
    assert times.seconds(0, 64) == pytest.approx(64.0, rel=0.01)


def test_a_few_rows_do_not_vouch_for_many():
    """The estimate for 5 to 8 rows, after many calls on 5."""
    times = StageTimes(1, target=8)
    times.learn(0, 8, 8.0)
    for _ in range(100):
        times.learn(0, 5, 5.0)
    assert times.seconds(0, 8) == pytest.approx(8.0)
