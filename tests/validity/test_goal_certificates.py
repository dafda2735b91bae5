"""The certificates of the other goals hold on a population whose truth is known, and spend what they may."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import torch
from scipy import stats

import offramp as ofr
from offramp.goals import AccuracyDrop, Agreement, ClassDrop, ExpectedHarm, Goal, MACBudget, WorstDecileHarm

TRIALS, DELTA, SAMPLES = 30, 0.1, 1500
pytestmark = pytest.mark.slow
Missed = Callable[[ofr.Recording, ofr.Policy], bool]


@pytest.fixture(scope="module")
def validity() -> Iterator[ModuleType]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield importlib.import_module("validity")
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def population(validity: ModuleType) -> ofr.Recording:
    recording: ofr.Recording = validity.network(40_000, 10**6)
    return recording


def outcomes(population: ofr.Recording, policy: ofr.Policy) -> tuple[torch.Tensor, torch.Tensor]:
    right = ofr.simulate(population, policy).predictions == population.required_labels
    return right, population.correct[-1]


def relative_drop(population: ofr.Recording, policy: ofr.Policy) -> bool:
    right, plain = outcomes(population, policy)
    return float(right.double().mean()) < (1 - 0.02) * float(plain.double().mean())


def disagreement(population: ofr.Recording, policy: ofr.Policy) -> bool:
    same = ofr.simulate(population, policy).predictions == population.predictions[-1]
    return float(same.double().mean()) < 0.95


def class_drop(population: ofr.Recording, policy: ofr.Policy) -> bool:
    right, plain = (x.double() for x in outcomes(population, policy))
    labels = population.required_labels
    return max(float((plain - right)[labels == c].mean()) for c in range(population.classes)) > 0.06


def decile_harm(population: ofr.Recording, policy: ofr.Policy) -> bool:
    right, plain = outcomes(population, policy)
    confidence = population.logits[-1].softmax(-1).amax(-1)
    return max(float(x.double().mean()) for x in (plain & ~right)[confidence.argsort()].tensor_split(10)) > 0.08


def over_budget(population: ofr.Recording, policy: ofr.Policy) -> bool:
    return ofr.simulate(population, policy).mean_macs > 0.3 * population.plain_macs


CERTIFIED: list[tuple[Goal, Missed]] = [
    (AccuracyDrop(0.02, delta=DELTA, relative=True), relative_drop),
    (Agreement(0.95, delta=DELTA), disagreement),
    (ClassDrop(0.06, delta=DELTA), class_drop),
    (WorstDecileHarm(0.08, delta=DELTA), decile_harm),
    (MACBudget(share=0.3, delta=DELTA), over_budget),
]


@pytest.mark.parametrize(("goal", "missed"), CERTIFIED, ids=lambda x: getattr(x, "name", ""))
def test_a_goal_is_missed_no_more_often_than_certified(
    validity: ModuleType, population: ofr.Recording, goal: Goal, missed: Missed
) -> None:
    wrong, shares = 0, []
    for seed in range(TRIALS):
        tuning = validity.network(700, 10**7 + seed)
        result = ofr.calibrate(validity.network(SAMPLES, seed), goal=goal, tuning=tuning)
        policy = result.policy if isinstance(result, ofr.Calibrated) else result.best
        wrong += missed(population, policy)
        shares.append(result.evidence.macs_share)
    assert wrong <= stats.binom.ppf(0.999, TRIALS, DELTA)
    assert sum(shares) / TRIALS < 0.9


def test_expected_harm_holds_on_average_and_often_not_in_one_calibration(
    validity: ModuleType, population: ofr.Recording
) -> None:
    harms = []
    for seed in range(TRIALS):
        policy = ofr.calibrate(validity.network(SAMPLES, seed), goal=ExpectedHarm(0.02)).unwrap()
        right, plain = outcomes(population, policy)
        harms.append(float((plain & ~right).double().mean()))
    found = torch.tensor(harms)
    assert float(found.mean()) <= 0.02 + 3 * float(found.std()) / TRIALS**0.5
    assert int((found > 0.02).sum()) > 0.2 * TRIALS
