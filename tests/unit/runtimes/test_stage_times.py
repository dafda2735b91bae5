from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offramp.runtimes.streaming import StageTimes


@pytest.mark.parametrize(("target", "sizes"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))])
def test_sizes_reach_to_the_target(target, sizes):
    times = StageTimes(1, target)
    assert times.sizes == sizes
    for i, size in enumerate(sizes):
        times.learn(0, size, float(i + 1))
    assert [times.seconds(0, rows) for rows in range(1, target + 1)] == [
        float(1 + next(i for i, size in enumerate(sizes) if size >= rows)) for rows in range(1, target + 1)
    ]


@given(st.lists(st.tuples(st.integers(1, 13), st.floats(1e-6, 10)), max_size=60))
def test_estimates_grow_with_the_rows_and_are_never_below_what_was_just_measured(measured):
    times = StageTimes(1, target=13)
    for rows, seconds in measured:
        times.learn(0, rows, seconds)
        assert times.seconds(0, rows) >= seconds
        found = [times.seconds(0, n) for n in range(1, 14)]
        assert found == sorted(found)


def test_stages_are_learned_apart():
    times = StageTimes(2, target=1)
    times.learn(1, 1, 5.0)
    assert (times.seconds(0, 1), times.seconds(1, 1)) == (0.0, 5.0)


def test_a_slow_call_is_believed_at_once_and_forgotten_little_by_little():
    times = StageTimes(1, target=1)
    times.learn(0, 1, 1.0)
    times.learn(0, 1, 11.0)
    assert times.seconds(0, 1) == 11.0
    times.learn(0, 1, 1.0)
    assert times.seconds(0, 1) == pytest.approx(10.0)
    for _ in range(100):
        times.learn(0, 1, 1.0)
    assert times.seconds(0, 1) == pytest.approx(1.0, rel=1e-2)


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
