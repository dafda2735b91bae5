"""Ratios with intervals, answers, and where paying begins and ends: pure arithmetic, no clock."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offramp.comparison import Answer, Crossover, Ratio, least_rounds, rising
from offramp.errors import VerdictError

PAYS, NOT, OPEN = Answer.PAYS, Answer.DOES_NOT_PAY, Answer.UNRESOLVED


def test_the_interval_is_of_order_statistics():
    ratio = Ratio.of([float(i) for i in range(21, 0, -1)], [1.0] * 21)
    # P(Binomial(21, 1/2) < 6) = 0.013, P(... < 7) = 0.039: the 6th from either end.
    assert (ratio.low, ratio.median, ratio.high) == (6.0, 11.0, 16.0)
    assert (ratio.rounds, ratio.confidence) == (21, 0.95)


def test_rounds_are_paired():
    noise = [1.0, 50.0, 3.0, 9.0, 200.0, 7.0, 0.5]
    ratio = Ratio.of([0.9 * s for s in noise], noise)
    assert (ratio.low, ratio.median, ratio.high) == pytest.approx((0.9, 0.9, 0.9))
    assert ratio.answer is PAYS


@pytest.mark.parametrize(
    ("low", "high", "answer"), [(0.8, 0.99, PAYS), (1.01, 1.2, NOT), (0.9, 1.1, OPEN), (0.8, 1, OPEN)]
)
def test_an_answer_is_given_only_where_the_interval_gives_one(low, high, answer):
    assert Ratio((low + high) / 2, low, high, 21, 0.95).answer is answer


def test_answers_are_words():
    assert PAYS == "pays"
    assert str(NOT) == "does not pay"


@pytest.mark.parametrize("rounds", [1, 5])
def test_too_few_rounds(rounds):
    with pytest.raises(VerdictError, match="needs at least 6 rounds"):
        Ratio.of([1.0] * rounds, [1.0] * rounds)


def test_the_fewest_rounds_are_enough():
    assert least_rounds(0.95) == 6
    assert Ratio.of([2.0] * 6, [1.0] * 6).answer is NOT


@pytest.mark.parametrize("rounds", [6, 12, 21])
def test_intervals_hold_the_true_median_as_often_as_they_say(rounds):
    draw = random.Random(0)
    trials = 2000
    held = 0
    for _ in range(trials):
        ratio = Ratio.of([draw.lognormvariate(0, 1) for _ in range(rounds)], [1.0] * rounds)
        held += ratio.low <= 1.0 <= ratio.high
    # Three standard errors of a share of 0.95 in 2000 trials are 0.015.
    assert held / trials > 0.95 - 0.015


@given(st.lists(st.floats(0.1, 10), min_size=6, max_size=40))
def test_the_median_lies_in_the_interval_and_the_interval_among_the_ratios(values):
    ratio = Ratio.of(values, [1.0] * len(values))
    assert min(values) <= ratio.low <= ratio.median <= ratio.high <= max(values)


@pytest.mark.parametrize(
    ("answers", "up_to", "from_"),
    [
        ({1: PAYS, 8: PAYS, 64: NOT}, 8, None),
        ({1: NOT, 8: PAYS, 64: PAYS}, None, 8),
        ({1: PAYS, 8: PAYS}, 8, 1),
        ({1: NOT, 8: OPEN}, None, None),
        ({1: PAYS, 8: NOT, 64: PAYS}, 1, 64),
        ({64: OPEN, 1: PAYS}, 1, None),
        ({1: NOT, 8: PAYS, 64: NOT}, None, None),
    ],
)
def test_crossover(answers, up_to, from_):
    found = Crossover.of(answers)
    assert (found.up_to, found.from_) == (up_to, from_)
    assert found.to_dict() == {"up_to": up_to, "from": from_}


def test_batch_sizes_rise_and_come_once():
    assert rising((64, 1, 8, 8)) == [1, 8, 64]


@pytest.mark.parametrize("sizes", [(), (0,), (1, -8), (1.5,)])
def test_impossible_batch_sizes(sizes):
    with pytest.raises(VerdictError, match="whole number of at least 1"):
        rising(sizes)
