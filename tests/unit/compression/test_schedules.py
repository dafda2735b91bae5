from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offramp.compression.schedules import (
    Baseline,
    Exponential,
    ExponentialWithBias,
    Multistep,
    Polynomial,
    Schedule,
    Staircase,
)
from offramp.errors import CompressionError

rates = st.floats(0, 0.95)
lengths = st.integers(0, 40)


def all_schedules(initial: float, target: float, last: int) -> list[Schedule]:
    return [
        Baseline(initial, target),
        Baseline(initial, target, warm_up=last),
        Exponential(initial, target, last, warm_up=2),
        ExponentialWithBias(initial, target, last),
        Polynomial(initial, target, last),
        Polynomial(initial, target, last, power=3, concave=False),
        Staircase(initial, target, patience=last + 1),
    ]


@given(rates, rates, lengths)
def test_rates_rise_from_the_initial_to_the_target_and_stay(a: float, b: float, last: int) -> None:
    initial, target = sorted((a, b))
    for schedule in all_schedules(initial, target, last):
        found = [schedule.rate(epoch) for epoch in range(60)]
        assert all(later >= earlier - 1e-9 for earlier, later in itertools.pairwise(found)), schedule
        assert min(found) >= initial - 1e-9
        assert max(found) <= target + 1e-9
        assert schedule.rate(10_000) == pytest.approx(target)
        assert schedule.finished(10_000)


def test_the_exponential_is_that_of_the_published_formula() -> None:
    # 1 - d0 (dT / d0)^(e / (steps - 1)), d = 1 - level, steps = 11, two epochs at the initial level
    schedule = Exponential(0.1, 0.6, last=10, warm_up=2)
    assert schedule.rate(7) == pytest.approx(1 - 0.9 * (0.4 / 0.9) ** 0.5)
    assert schedule.rate(1) == 0.1


def test_the_exponential_with_bias_passes_three_quarters_of_the_target_after_an_eighth_of_the_way() -> None:
    schedule = ExponentialWithBias(0.1, 0.8, last=16)
    assert [schedule.rate(e) for e in (0, 2, 16)] == pytest.approx([0.1, 0.6, 0.8])


def test_the_exponential_with_bias_falls_back_where_it_starts_above_its_middle_point() -> None:
    assert ExponentialWithBias(0.7, 0.8, last=4).rate(2) == Exponential(0.7, 0.8, last=4).rate(2)


def test_the_polynomial_is_that_of_the_published_formula() -> None:
    assert Polynomial(0.2, 0.7, last=10).rate(3) == pytest.approx(0.7 - 0.5 * 0.7**0.9)
    assert Polynomial(0.2, 0.7, last=10, concave=False).rate(2.5) == pytest.approx(0.2 + 0.5 * 0.25**0.9)


@pytest.mark.parametrize(
    ("steps", "levels", "said"),
    [((1, 2), (0.1, 0.2), "need 3 levels"), ((2, 2), (0.1, 0.2, 0.3), "must rise")],
)
def test_a_multistep_says_what_does_not_fit(steps: tuple[int, ...], levels: tuple[float, ...], said: str) -> None:
    with pytest.raises(CompressionError, match=said):
        Multistep(steps, levels)
