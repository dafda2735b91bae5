"""p-values against scipy, against brute force, and against their definition."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from offramp.binomial import lower_bound, lower_tail, upper_bound
from offramp.calibrators.drop_tests import DROP_TESTS, betting, exact, harm, hoeffding_bentkus, samples_needed, wsr
from offramp.goals import DropTest

PValue = Callable[[int, int, int, float, float], float]
POINTS, DELTA = 0.01, 0.05


@given(samples=st.integers(1, 50_000), share=st.floats(0, 1), rate=st.floats(1e-6, 1 - 1e-6))
@settings(deadline=None)
def test_the_binomial_tail_is_that_of_scipy(samples: int, share: float, rate: float) -> None:
    successes = round(share * samples)
    expected = stats.binom.cdf(successes, samples, rate)
    assert lower_tail(samples, successes, rate) == pytest.approx(expected, rel=1e-6, abs=1e-14)


def test_the_binomial_tail_at_its_ends() -> None:
    assert lower_tail(5, -1, 0.3) == 0
    assert lower_tail(5, 5, 0.3) == 1
    assert lower_tail(5, 2, 0.0) == 1
    assert lower_tail(5, 2, 1.0) == 0


@given(samples=st.integers(1, 20_000), share=st.floats(0, 1), delta=st.floats(1e-4, 0.5))
@settings(max_examples=40, deadline=None)
def test_the_upper_bound_is_clopper_and_pearsons(samples: int, share: float, delta: float) -> None:
    successes = round(share * samples)
    expected = 1.0 if successes == samples else stats.beta.ppf(1 - delta, successes + 1, samples - successes)
    assert upper_bound(samples, successes, delta) == pytest.approx(expected, rel=1e-6)


def test_harm_is_the_binomial_test_of_scipy() -> None:
    for worse in (0, 3, 20):
        expected = stats.binomtest(worse, 1000, POINTS, alternative="less").pvalue
        assert harm.p_value(1000, worse, 7, POINTS, DELTA) == pytest.approx(expected)


def test_betting_is_the_capital_of_a_plain_loop() -> None:
    differences = [1] * 3 + [0] * 290 + [-1] * 7
    bets = np.geomspace(betting.SMALLEST, betting.MARGIN / (1 - POINTS), betting.BETS)
    capital = np.ones(betting.BETS)
    for difference in differences:
        capital *= 1 + bets * (POINTS - difference)
    assert betting.p_value(300, 3, 7, POINTS, DELTA) == pytest.approx(min(1, 1 / capital.mean()))


def test_the_expected_capital_is_at_most_one_at_the_edge() -> None:
    # E[1 / p] over all outcomes of 40 samples whose drop is exactly the budget; 1 / p is capped from below by 1.
    samples, points, better = 40, 0.2, 0.1
    expected = 0.0
    for w in range(samples + 1):
        for b in range(samples + 1 - w):
            chance = stats.multinomial.pmf([w, b, samples - w - b], samples, [better + points, better, 0.6])
            p = betting.p_value(samples, w, b, points, DELTA)
            expected += chance * (1 / p if p < 1 else 0.0)
    assert 0.1 < expected <= 1


def trinomial_tail(samples: int, up: float, down: float, limit: int) -> float:
    """`P(worse - better <= limit)` by summing over `better`."""
    better = np.arange(samples + 1)
    rest = stats.binom.cdf(limit + better, samples - better, up / (1 - down))
    return float((stats.binom.pmf(better, samples, down) * rest).sum())


@pytest.mark.parametrize(("samples", "up", "down"), [(30, 0.3, 0.2), (300, 0.03, 0.02), (2000, 0.012, 0.002)])
def test_the_tail_of_the_difference_is_that_of_brute_force(samples: int, up: float, down: float) -> None:
    first, tail = exact._tails(samples, up - down, np.array([down]), np.array([down]))
    middle = round(samples * (up - down))
    for limit in range(middle - 8, middle + 9):
        assert tail[limit - first] == pytest.approx(trinomial_tail(samples, up, down, limit), abs=1e-10)


@pytest.mark.parametrize(("samples", "worse", "better"), [(500, 2, 3), (1000, 8, 6), (1000, 12, 10), (3000, 40, 25)])
def test_the_exact_p_value_covers_the_maximum_and_hardly_more(samples: int, worse: int, better: int) -> None:
    spent = exact.NUISANCE_SHARE * DELTA
    largest = (upper_bound(samples, worse + better, spent) - POINTS) / 2
    rates = np.linspace(0, largest, 60)
    maximum = max(trinomial_tail(samples, q + POINTS, q, worse - better) for q in rates)
    assert maximum <= exact.p_value(samples, worse, better, POINTS, DELTA) - spent <= 1.02 * maximum + 1e-6


@given(largest=st.floats(0, 0.5))
def test_the_cover_has_no_gaps(largest: float) -> None:
    low, high = exact._cover(largest)
    assert high[0] == largest
    assert low[-1] == 0
    assert (low[:-1] == high[1:]).all()


@pytest.mark.parametrize("better_rate", [0.0, 0.005, 0.03, 0.2])
@pytest.mark.parametrize("samples", [450, 1000])
def test_the_exact_test_keeps_its_level_at_the_edge(samples: int, better_rate: float) -> None:
    """Probability of rejecting where the drop is exactly the budget, summed over all outcomes that matter."""
    up = better_rate + POINTS
    size = 0.0
    better = np.arange(int(stats.binom.ppf(1 - 1e-7, samples, better_rate)) + 1)
    for b in better.tolist():
        worst = _most_rejected(samples, b)
        size += stats.binom.pmf(b, samples, better_rate) * stats.binom.cdf(worst, samples - b, up / (1 - better_rate))
    assert size <= DELTA
    assert size > 0.2 * DELTA or samples < 1000, "a test that never rejects is valid and useless"


def _most_rejected(samples: int, better: int) -> int:
    """Largest `worse` that is rejected beside so many `better`; -1 for none."""
    low, high = -1, samples - better + 1
    while high - low > 1:
        middle = (low + high) // 2
        rejected = exact.p_value(samples, middle, better, POINTS, DELTA) <= DELTA
        low, high = (middle, high) if rejected else (low, middle)
    return low


@pytest.mark.parametrize("test", DROP_TESTS)
@given(samples=st.integers(50, 3000), worse=st.integers(0, 40), better=st.integers(0, 10))
@settings(max_examples=30, deadline=None)
def test_more_harm_is_never_stronger_evidence(test: DropTest, samples: int, worse: int, better: int) -> None:
    p_value = DROP_TESTS[test]
    less, more = (p_value(samples, w, better, POINTS, DELTA) for w in (worse, worse + 1))
    assert 0 <= less <= more + 1e-9
    assert more <= 1


@pytest.mark.parametrize(("points", "delta"), [(0.01, 0.05), (0.02, 0.1), (0.001, 0.01)])
def test_the_samples_that_harm_needs_have_a_closed_form(points: float, delta: float) -> None:
    assert samples_needed("harm", points, delta) == math.ceil(math.log(delta) / math.log(1 - points))


@pytest.mark.parametrize("test", DROP_TESTS)
def test_the_samples_needed_are_enough_and_one_fewer_is_not(test: DropTest) -> None:
    needed = samples_needed(test, POINTS, DELTA)
    assert needed is not None
    assert DROP_TESTS[test](needed, 0, 0, POINTS, DELTA) <= DELTA
    assert DROP_TESTS[test](needed - 1, 0, 0, POINTS, DELTA) > DELTA
    assert samples_needed(test, 0.0, DELTA) is None


def test_the_lower_bound_mirrors_the_upper_one() -> None:
    assert lower_bound(50, 40, 0.1) == pytest.approx(stats.beta.ppf(0.1, 40, 11))
    assert lower_bound(50, 0, 0.1) == 0


def test_adaptive_bets_are_those_of_a_plain_loop() -> None:
    points, delta = 0.1, 0.05
    differences = np.random.default_rng(1).choice([-1, 0, 1], p=[0.05, 0.9, 0.05], size=60)
    mean = (1 + points) / 2
    capital = largest = 1.0
    total, spread, variance = 0.5, 0.25, 0.25
    order = np.random.default_rng(wsr.SEED).permutation(60)
    for i, y in enumerate(((1 + differences[order]) / 2).tolist(), start=1):
        bet = min(math.sqrt(2 * math.log(1 / delta) / (60 * variance)), 0.5 / (1 - mean))
        capital *= 1 + bet * (mean - y)
        largest = max(largest, capital)
        total += y
        spread += (y - total / (i + 1)) ** 2
        variance = spread / (i + 1)
    assert wsr.p_value(differences, points, delta) == pytest.approx(1 / largest)


@pytest.mark.slow
def test_adaptive_bets_keep_their_level_at_the_edge() -> None:
    draws = np.random.default_rng(0).choice([-1, 0, 1], p=[0.02, 0.94, 0.04], size=(600, 500))
    wrong = sum(wsr.p_value(d, 0.02, 0.1) <= 0.1 for d in draws)
    assert wrong <= stats.binom.ppf(0.999, 600, 0.1)
    assert sum(wsr.p_value(d, 0.1, 0.1) <= 0.1 for d in draws) > 300


def test_samples_needed_by_tests_of_samples() -> None:
    needed = samples_needed("wsr", POINTS, DELTA)
    assert needed is not None
    assert wsr.p_value(np.zeros(needed, dtype=np.int8), POINTS, DELTA) <= DELTA
    assert wsr.p_value(np.zeros(needed - 1, dtype=np.int8), POINTS, DELTA) > DELTA


@pytest.mark.parametrize("worse", [0, 2, 5, 9, 10, 30])
def test_hoeffding_bentkus_never_beats_the_binomial_tail(worse: int) -> None:
    tail = harm.p_value(1000, worse, 0, POINTS, DELTA)
    rate = worse / 1000
    bound = math.exp(-1000 * stats.entropy([rate, 1 - rate], [POINTS, 1 - POINTS])) if rate < POINTS else 1.0
    found = hoeffding_bentkus.p_value(1000, worse, 3, POINTS, DELTA)
    assert found == pytest.approx(min(1.0, bound, math.e * tail))
    assert found >= tail * (1 - 1e-9)
