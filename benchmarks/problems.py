"""Distributions of recordings whose truth is known: closed forms, a made-up network, real recordings drawn from.

A policy's true figures are known in closed form, or are those on a population: two million samples of the made-up
network, or all samples of a real recording, from which calibration sets are drawn with replacement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch

import offramp as ofr
from offramp.calibrators.scoring import Bools, Floats, Ints, ScoreTable, score_table
from offramp.criteria import MaxProbability

POPULATION = 2_000_000
CHUNK = 100_000
POPULATION_SEED = 10**6
Truth = tuple[float, float]
Thresholds = tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Population:
    """All samples of a distribution, or so many that they stand for it.

    Attributes:
        table: scores, answers and correctness by exit.
        labels: `[n]`.
        confidence: `[n]` largest probability of the full network.
    """

    table: ScoreTable
    labels: Ints
    confidence: Floats

    @classmethod
    def of(cls, recordings: Sequence[ofr.Recording]) -> Population:
        """Of the samples of these recordings of one model."""
        tables = [score_table(recording, MaxProbability(), None) for recording in recordings]
        correct = np.concatenate([table.correct for table in tables], axis=1)
        table = replace(
            tables[0],
            scores=np.concatenate([table.scores for table in tables], axis=1),
            answers=np.concatenate([table.answers for table in tables], axis=1),
            correct=correct,
            plain_correct=correct[-1],
        )
        labels = torch.cat([recording.required_labels for recording in recordings])
        return cls(table, labels.numpy(), np.concatenate([plain_confidence(recording) for recording in recordings]))

    @cached_property
    def by_confidence(self) -> Ints:
        """`[n]` samples from the least confident on."""
        return self.confidence.argsort()

    @cached_property
    def sorted_confidence(self) -> Floats:
        """`[n]` ascending."""
        return self.confidence[self.by_confidence]

    def outcome(self, thresholds: Thresholds) -> tuple[Ints, Bools, Ints]:
        """`[n]` exit taken, whether the answer is right, and the answer."""
        taken, rows = self.table.exits(thresholds), np.arange(self.table.samples)
        return taken, self.table.correct[taken, rows], self.table.answers[taken, rows]

    def truth(self, thresholds: Thresholds) -> Truth:
        """True drop and mean MACs."""
        taken, right, _ = self.outcome(thresholds)
        lost = int(self.table.plain_correct.sum()) - int(right.sum())
        return lost / self.table.samples, float(self.table.costs(thresholds)[taken].mean())


def plain_confidence(recording: ofr.Recording) -> Floats:
    """`[n]` largest probability of the network without exits, in double precision."""
    return recording.logits[-1].double().softmax(dim=-1).amax(dim=-1).numpy()


@dataclass(frozen=True)
class Problem:
    """A distribution of recordings.

    Attributes:
        name: for the table.
        draw: `(n, seed) -> Recording` of n independent samples.
        truth: thresholds -> true `(drop, mean MACs)` of the policy.
        population: what the truth is taken from; None for a closed form.
    """

    name: str
    draw: Callable[[int, int], ofr.Recording]
    truth: Callable[[Thresholds], Truth]
    population: Callable[[], Population] | None = None


def edge(name: str, worse: float, better: float) -> Problem:
    """One exit whose drop steps from nothing to `worse - better`, in closed form.

    Half of the samples have confidence .9, and there the exit answers as the full model does; the other half have .7,
    and there it is wrong for a share `worse` of all samples that the full model gets right, and right for a share
    `better` that it gets wrong. A budget just below `worse - better` is the hardest there is: every policy that
    takes the second half is over it by next to nothing, and no policy before gives a hint.
    """

    def draw(n: int, seed: int) -> ofr.Recording:
        u = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        is_worse, is_better = u < worse, (u >= worse) & (u < worse + better)
        confidence = torch.where(u < 0.5, 0.7, 0.9)
        early = torch.stack([(confidence / (1 - confidence)).log(), torch.zeros(n, dtype=torch.float64)], dim=1)
        early = torch.where(is_worse[:, None], early.flip(1), early)
        full = torch.where(is_better[:, None], torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0]))
        return ofr.Recording(torch.stack([early, full]).float(), torch.zeros(n, dtype=torch.int64), [25.0, 100.0])

    def truth(thresholds: tuple[float, ...]) -> Truth:
        share = 0.5 * (thresholds[0] < 0.9) + 0.5 * (thresholds[0] < 0.7)
        return (worse - better) * (thresholds[0] < 0.7), 100.0 - 75.0 * share

    return Problem(name, draw, truth)


def network(n: int, seed: int) -> ofr.Recording:
    """Four exits with accuracies like those of a small network on a real data set: .87, .88, .90, .91.

    Each logit vector is a signal for the label plus noise, most of it shared by the exits, of a scale that varies
    between samples: exits agree mostly, confidence tells hard samples from easy ones, and early exits are
    sometimes right where the last is wrong.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (n,), generator=generator)
    scale = torch.randn(n, 1, generator=generator).mul(0.6).exp()
    shared = torch.randn(n, 10, generator=generator)
    exits = []
    for signal in (3.5, 3.7, 4.0, 4.2):
        own = torch.randn(n, 10, generator=generator)
        logits = (0.9 * shared + 0.436 * own) * scale
        logits[torch.arange(n), labels] += signal
        exits.append(2 * logits)
    return ofr.Recording(torch.stack(exits), labels, [160.0, 282.0, 443.0, 1010.0], [2.0, 3.0, 5.0])


@cache
def network_population(size: int) -> Population:
    """Many samples of `network`, which stand for its truth; the standard error of a drop is about 0.02 points."""
    return Population.of([network(CHUNK, POPULATION_SEED + i) for i in range(size // CHUNK)])


@lru_cache(maxsize=4096)
def network_truth(thresholds: Thresholds) -> Truth:
    """Shared thresholds come from one grid, so most are asked for again and again."""
    return network_population(POPULATION).truth(thresholds)


def resampled(path: Path) -> Problem:
    """Draws with replacement from a recording of a real network, which is the truth."""
    recording = ofr.Recording.load(path)
    population = Population.of([recording])

    def draw(n: int, seed: int) -> ofr.Recording:
        return recording.take(torch.randint(recording.samples, (n,), generator=torch.Generator().manual_seed(seed)))

    return Problem(f"resampled: {path.stem}", draw, population.truth, lambda: population)
