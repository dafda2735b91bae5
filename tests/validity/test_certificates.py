"""Certificates hold on problems whose truth is known, and the check itself can fail.

Runs the benchmark's own code with fewer trials: `benchmarks/validity.py` has the full budget.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from scipy import stats

from offramp.calibrators.drop_tests import DROP_TESTS

TRIALS = 120
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def validity() -> Iterator[ModuleType]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    module = importlib.import_module("validity")
    problems = importlib.import_module("problems")
    problems.POPULATION = 400_000  # type: ignore[attr-defined]
    yield module
    torch.set_num_threads(threads)


@pytest.mark.parametrize("samples", [500, 2000])
@pytest.mark.parametrize("test", [*DROP_TESTS, "wsr", "exact, per exit"])
@pytest.mark.parametrize("problem", range(3))
def test_a_certificate_is_wrong_no_more_often_than_it_says(
    validity: ModuleType, problem: int, test: str, samples: int
) -> None:
    result = validity.measure(validity.PROBLEMS[problem], samples, f"certified: {test}", TRIALS, delta=0.1)
    assert result.over_budget <= result.bound


@pytest.mark.parametrize("problem", range(3))
@pytest.mark.parametrize("method", ["naive: one threshold", "naive: per exit"])
def test_the_naive_choice_is_wrong_far_more_often(validity: ModuleType, problem: int, method: str) -> None:
    trials = 60 * validity.SELDOM.get(method, 1)
    result = validity.measure(validity.PROBLEMS[problem], 1000, method, trials)
    assert result.over_budget > result.bound


@pytest.mark.parametrize(("test", "problem"), [("exact", 0), ("harm", 1)])
def test_a_test_at_six_times_its_level_is_caught(
    validity: ModuleType, monkeypatch: pytest.MonkeyPatch, test: str, problem: int
) -> None:
    honest = DROP_TESTS[test]  # type: ignore[index]
    # The same test, compared with six times the level that is claimed.
    monkeypatch.setitem(DROP_TESTS, test, lambda n, w, b, points, delta: honest(n, w, b, points, 6 * delta) / 6)
    result = validity.measure(validity.PROBLEMS[problem], 5000, f"certified: {test}", TRIALS)
    assert result.over_budget > result.bound


def test_the_edge_problem_is_what_its_closed_form_says(validity: ModuleType) -> None:
    recording = validity.PROBLEMS[0].draw(200_000, 7)
    correct = recording.correct.double().mean(dim=1)
    drop, macs = validity.PROBLEMS[0].truth((0.5,))
    assert float(correct[1] - correct[0]) == pytest.approx(drop, abs=0.002)
    assert drop > validity.POINTS > drop - 1e-6
    assert macs == pytest.approx(recording.macs[0])
    assert validity.PROBLEMS[0].truth((0.8,)) == (0, 62.5)


def test_the_bound_is_the_binomial_quantile(validity: ModuleType) -> None:
    for trials in (60, 500):
        assert validity.most_allowed(trials) == stats.binom.ppf(1 - validity.BOUND_LEVEL, trials, validity.DELTA)
