"""The frontier: its figures are simulate's, and nothing simple lies above it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import offramp as ofr
from offramp.calibrators import FrontierPoint
from offramp.calibrators.pareto import Pool
from offramp.calibrators.scoring import ScoreTable, score_table
from offramp.calibrators.search import search
from offramp.criteria import CRITERIA, Criterion, Entropy, Margin, MaxProbability, ready_made

MakeRecording = Callable[..., ofr.Recording]


@dataclass(frozen=True)
class MeanOfExits(Criterion):
    """Largest probability of the mean logits so far: an open exit needs the heads of all exits before it."""

    uses_earlier: ClassVar[bool] = True

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        return torch.stack([*earlier, logits]).mean(dim=0).softmax(dim=-1).max(dim=-1).values

    def grid(self, classes: int, size: int) -> list[float]:
        return MaxProbability().grid(classes, size)


CRITERIA_WITH_THRESHOLDS: list[Criterion] = [MaxProbability(), Margin(), Entropy(), MeanOfExits()]


def covers(points: list[FrontierPoint], accuracy: float, mean_macs: float) -> bool:
    """Whether some point is as accurate and as cheap, up to rounding."""
    return any(p.accuracy >= accuracy - 1e-12 and p.mean_macs <= mean_macs * (1 + 1e-12) for p in points)


def figures(recording: ofr.Recording, policy: ofr.Policy) -> tuple[float, float]:
    decisions = ofr.simulate(recording, policy)
    return decisions.accuracy(recording.required_labels), decisions.mean_macs


@given(
    seed=st.integers(0, 10_000),
    levels=st.sampled_from([None, 1, 4]),
    criterion=st.sampled_from(CRITERIA_WITH_THRESHOLDS),
    samples=st.integers(1, 60),
)
@settings(max_examples=25, deadline=None)
def test_reported_figures_are_those_of_simulate(
    make_recording: MakeRecording, seed: int, levels: int | None, criterion: Criterion, samples: int
) -> None:
    recording = make_recording(samples, classes=3, seed=seed, levels=levels)
    points = ofr.frontier(recording, criterion)
    for point in points:
        accuracy, macs = figures(recording, point.policy)
        assert point.accuracy == accuracy
        assert point.mean_macs == pytest.approx(macs, rel=1e-12)
    assert all(a.mean_macs < b.mean_macs and a.accuracy < b.accuracy for a, b in itertools.pairwise(points))


@given(seed=st.integers(0, 10_000), head=st.sampled_from([0.0, 5.0, 100.0]))
@settings(max_examples=15, deadline=None)
def test_nothing_simple_is_above_the_frontier(make_recording: MakeRecording, seed: int, head: float) -> None:
    recording = make_recording(80, seed=seed, head=head)
    points = ofr.frontier(recording)
    table = score_table(recording, MaxProbability(), None)
    for k in range(recording.exits):
        assert covers(points, *figures(recording, ofr.always(exit=k)))
    for score in np.unique(table.scores)[::3].tolist():
        assert covers(points, *figures(recording, table.policy([score] * table.early)))


@pytest.mark.parametrize("seed", range(3))
def test_random_search_does_not_get_above_the_frontier(make_recording: MakeRecording, seed: int) -> None:
    recording = make_recording(1500, seed=seed)
    table = score_table(recording, MaxProbability(), None)
    pool = search(table)
    dice = np.random.default_rng(seed)
    for _ in range(1500):
        shares = dice.uniform(size=table.early) ** dice.choice([0.3, 1.0, 3.0])
        thresholds = [float(np.quantile(s, q, method="lower")) for s, q in zip(table.scores, shares, strict=True)]
        taken = table.exits(thresholds)
        correct = int(table.correct[taken, np.arange(table.samples)].sum())
        assert pool.cost[correct:].min() <= table.costs(thresholds)[taken].sum() * (1 + 1e-12)


def exhaustive(table: ScoreTable) -> np.ndarray:
    """`[n + 1]` least total MACs with at least so many correct answers, over all policies."""
    least = np.full(table.samples + 1, np.inf)
    values = [[-np.inf, np.inf, *np.unique(scores).tolist()] for scores in table.scores]
    for thresholds in itertools.product(*values):
        taken = table.exits(thresholds)
        correct = int(table.correct[taken, np.arange(table.samples)].sum())
        least[correct] = min(least[correct], float(table.costs(thresholds)[taken].sum()))
    return np.minimum.accumulate(least[::-1])[::-1]


def test_one_early_exit_is_solved_exactly(make_recording: MakeRecording) -> None:
    for seed in range(10):
        table = score_table(make_recording(60, exits=2, seed=seed), MaxProbability(), None)
        found = np.minimum.accumulate(search(table).cost[::-1])[::-1]
        np.testing.assert_allclose(found, exhaustive(table))


def test_two_early_exits_are_all_but_solved(make_recording: MakeRecording) -> None:
    missed = total = 0
    for seed in range(6):
        table = score_table(make_recording(30, exits=3, seed=seed), MaxProbability(), None)
        best, found = exhaustive(table), np.minimum.accumulate(search(table).cost[::-1])[::-1]
        missed += int((found > best * (1 + 1e-9)).sum())
        total += int(np.isfinite(best).sum())
    assert missed <= 0.02 * total


def test_a_head_that_nobody_uses_is_closed(make_recording: MakeRecording) -> None:
    # Heads cost a third of the network: between the first exit and the last, opening more than one never pays.
    recording = make_recording(300, head=80.0)
    opened = [sum(t < float("inf") for t in point.policy.thresholds) for point in ofr.frontier(recording)]
    assert min(opened) <= 1
    assert opened[0] == 1


def test_every_registered_criterion_has_a_frontier(make_recording: MakeRecording) -> None:
    recording = make_recording(60)
    for name in ready_made():
        assert ofr.frontier(recording, CRITERIA[name]())


def test_temperatures_are_part_of_the_policies(make_recording: MakeRecording) -> None:
    points = ofr.frontier(make_recording(60), temperatures=[1.0, 2.0, 3.0])
    assert {point.policy.temperatures for point in points} == {(1.0, 2.0, 3.0)}


def test_the_pool_keeps_the_cheapest_for_each_accuracy() -> None:
    pool = Pool(samples=4, early=1)
    rows = np.array([[0.1], [0.2], [0.3], [0.4]])
    better = pool.offer(np.array([2, 2, 3, 1]), np.array([5.0, 4.0, 8.0, 6.0]), lambda picked: rows[picked])
    assert better == 4
    assert pool.cost[2] == 4.0
    assert pool.thresholds[2].tolist() == [0.2]
    assert pool.pareto().tolist() == [2, 3]
    # As accurate and dearer, or cheaper than a worse one but dearer than a better one: not kept.
    assert pool.offer(np.array([1, 2]), np.array([4.5, 4.0]), lambda picked: rows[picked]) == 0
    assert pool.best(price=0.1).tolist() == [0.3]
    assert pool.best(price=1.0).tolist() == [0.2]
