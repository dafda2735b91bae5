"""Is a certificate what it says? Hundreds of seeded calibrations on problems whose truth is known.

    python benchmarks/populations.py ...   # once, for the recordings of real networks
    python benchmarks/validity.py [--trials 500]

For every problem, number of calibration samples, delta and method: the share of calibrations whose policy truly loses
more than the budget, and the true mean MACs of the policies chosen. A certificate is valid when that share is at most
delta, which is held against a binomial bound. Problems are in closed form, or a large recording whose samples are drawn
with replacement.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import offramp as ofr
from offramp.binomial import lower_tail
from offramp.calibrators.paths import follow, shared_family
from offramp.calibrators.scoring import ScoreTable, score_table
from offramp.criteria import MaxProbability
from populations import FOLDER
from provenance import write

POINTS = 0.01
DELTA = 0.05
DELTAS = (0.05, 0.1)
GRID = 200
SIZES = (500, 1000, 2000, 5000)
REAL = ("fashion ResNet 0", "letters")
BOUND_LEVEL = 0.001
"""Probability with which a valid certificate would fail the binomial bound."""
POPULATION = 2_000_000
CHUNK = 100_000
TUNING_SEED = 10**7
Truth = tuple[float, float]


@dataclass(frozen=True)
class Problem:
    """A distribution of recordings.

    Attributes:
        name: for the table.
        draw: `(n, seed) -> Recording` of n independent samples.
        truth: thresholds `(early,)` -> true `(drop, mean MACs)` of the policy.
    """

    name: str
    draw: Callable[[int, int], ofr.Recording]
    truth: Callable[[tuple[float, ...]], Truth]


Method = Callable[[Problem, int, int, float], ofr.Policy]
"""`(problem, n, seed, delta) -> policy`."""


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
def population(size: int = POPULATION) -> ScoreTable:
    """Scores and correctness of many samples of `network`, which stand for its truth."""
    tables = [score_table(network(CHUNK, 10**6 + i), MaxProbability(), None) for i in range(size // CHUNK)]
    scores = np.concatenate([table.scores for table in tables], axis=1)
    correct = np.concatenate([table.correct for table in tables], axis=1)
    answers = np.concatenate([table.answers for table in tables], axis=1)
    return replace(tables[0], scores=scores, answers=answers, correct=correct, plain_correct=correct[-1])


@cache
def network_truth(thresholds: tuple[float, ...]) -> Truth:
    """True drop and mean MACs on the population; the standard error of the drop is about 0.02 points."""
    table = population()
    taken = table.exits(thresholds)
    right = table.correct[taken, np.arange(table.samples)]
    return float(table.correct[-1].mean() - right.mean()), float(table.costs(thresholds)[taken].mean())


def resampled(path: Path) -> Problem:
    """Draws with replacement from a recording of a real network, which is the truth."""
    recording = ofr.Recording.load(path)
    table = score_table(recording, MaxProbability(), None)

    def draw(n: int, seed: int) -> ofr.Recording:
        return recording.take(torch.randint(recording.samples, (n,), generator=torch.Generator().manual_seed(seed)))

    def truth(thresholds: tuple[float, ...]) -> Truth:
        taken = table.exits(thresholds)
        right = table.correct[taken, np.arange(table.samples)]
        lost = int(table.correct[-1].sum()) - int(right.sum())
        return lost / table.samples, float(table.costs(thresholds)[taken].mean())

    return Problem(f"resampled: {path.stem}", draw, truth)


EXCESS = 1e-9
PROBLEMS = (
    edge("edge: drop at the budget", worse=0.03 + EXCESS, better=0.02),
    edge("edge: harm at the budget", worse=POINTS + EXCESS, better=0.0),
    Problem("network: four exits", network, network_truth),
)


def certified(test: str, family: str = "shared") -> Method:
    """Our certificate with one of its tests; the plain network where nothing can be certified."""

    def choose(problem: Problem, samples: int, seed: int, delta: float) -> ofr.Policy:
        recording = problem.draw(samples, seed)
        goal = ofr.goals.AccuracyDrop(POINTS, delta=delta, test=test)  # type: ignore[arg-type]
        result = ofr.calibrate(
            recording,
            goal=goal,
            temperatures=[1.0] * (recording.exits - 1),
            tuning=problem.draw(samples // 2, TUNING_SEED + seed) if family == "tuned" else None,
            family=family,  # type: ignore[arg-type]
            grid=GRID,
        )
        return result.policy if isinstance(result, ofr.Calibrated) else result.best

    return choose


def naive(choose: Callable[[ofr.Recording], ofr.Policy]) -> Method:
    """A choice without any delta."""
    return lambda problem, samples, seed, delta: choose(problem.draw(samples, seed))


def naive_shared(recording: ofr.Recording) -> ofr.Policy:
    """The cheapest shared threshold whose drop on the calibration samples is within the budget."""
    table = score_table(recording, MaxProbability(), None)
    family = shared_family(table, GRID)
    outcomes = follow(table, family)
    allowed = outcomes.drop <= POINTS
    best = np.where(allowed, outcomes.mean_cost, np.inf).argmin()
    return table.policy(family.thresholds[best].tolist()) if allowed.any() else table.plain()


def naive_per_exit(recording: ofr.Recording) -> ofr.Policy:
    """The empirical goal: per-exit thresholds, judged on the samples they were chosen on."""
    return ofr.calibrate(recording, goal=ofr.goals.AccuracyDrop(POINTS)).unwrap()


METHODS: dict[str, Method] = {
    **{f"certified: {test}": certified(test) for test in ("exact", "betting", "wsr", "harm", "hoeffding_bentkus")},
    "certified: exact, per exit": certified("exact", "tuned"),
    "naive: one threshold": naive(naive_shared),
    "naive: per exit": naive(naive_per_exit),
}
SELDOM = {"naive: per exit": 5}
"""Methods that take long get so many times fewer trials."""


@dataclass(frozen=True)
class Result:
    """One row of the table.

    Attributes:
        problem: its name.
        samples: number of calibration samples.
        method: how the policy was chosen.
        delta: probability with which the certificate may be wrong.
        trials: number of calibrations.
        over_budget: how many of them chose a policy whose true drop is above the budget.
        bound: how many a valid certificate may have.
        mean_drop: true drop of the policies chosen, a share.
        mean_macs_share: their true mean MACs as a share of the plain network's.
        standard_error: of `mean_macs_share`.
    """

    problem: str
    samples: int
    method: str
    delta: float
    trials: int
    over_budget: int
    bound: int
    mean_drop: float
    mean_macs_share: float
    standard_error: float


def most_allowed(trials: int, delta: float = DELTA, level: float = BOUND_LEVEL) -> int:
    """Largest number of failures that a valid certificate exceeds with probability at most `level`."""
    return next(k for k in range(trials + 1) if 1 - lower_tail(trials, k, delta) <= level)


def measure(problem: Problem, samples: int, method: str, trials: int, seed: int = 0, delta: float = DELTA) -> Result:
    """Runs one method on `trials` recordings, seeded `seed`, `seed + 1`, ..."""
    drops, shares = [], []
    trials //= SELDOM.get(method, 1)
    plain = problem.draw(1, 0).plain_macs
    for trial in range(trials):
        drop, macs = problem.truth(METHODS[method](problem, samples, seed + trial, delta).thresholds)
        drops.append(drop)
        shares.append(macs / plain)
    return Result(
        problem=problem.name,
        samples=samples,
        method=method,
        delta=delta,
        trials=trials,
        over_budget=sum(drop > POINTS for drop in drops),
        bound=most_allowed(trials, delta),
        mean_drop=float(np.mean(drops)),
        mean_macs_share=float(np.mean(shares)),
        standard_error=float(np.std(shares) / np.sqrt(trials)),
    )


def conditions(trials: int) -> dict[str, object]:
    """What was asked for."""
    return {
        "seeds": [0, trials - 1],
        "points": POINTS,
        "deltas": DELTAS,
        "grid": GRID,
        "population": POPULATION,
        "population_seeds": [10**6, 10**6 + POPULATION // CHUNK - 1],
        "bound_level": BOUND_LEVEL,
    }


def show(results: list[Result]) -> None:
    """Prints the table."""
    table = Table(title=f"budget {100 * POINTS:g} point: share over budget, true mean drop and MACs")
    for column in ("problem", "n", "delta", "method", "over budget", "allowed", "drop", "MACs"):
        table.add_column(column, no_wrap=True)
    for r in results:
        allowed = "-" if r.method.startswith("naive") else f"{r.bound / r.trials:.1%}"
        over = f"{r.over_budget / r.trials:.1%}"
        row = (
            r.problem,
            str(r.samples),
            f"{r.delta:g}",
            r.method,
            over,
            allowed,
            f"{r.mean_drop:.2%}",
            f"{r.mean_macs_share:.3f}",
        )
        table.add_row(*row)
    Console(width=130).print(table)


def asked() -> Iterator[tuple[str, float]]:
    """Methods with the deltas to run them at."""
    for method in METHODS:
        yield from ((method, delta) for delta in (DELTAS if method.startswith("certified") else DELTAS[:1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500)
    options = parser.parse_args()
    torch.set_num_threads(1)
    real = [resampled(FOLDER / f"{name}.safetensors") for name in REAL if (FOLDER / f"{name}.safetensors").exists()]
    results = []
    for problem in (*PROBLEMS, *real):
        for samples in SIZES:
            results += [measure(problem, samples, method, options.trials, delta=delta) for method, delta in asked()]
            print(f"{problem.name}, n = {samples}", flush=True)
    show(results)
    print(write("validity", {**conditions(options.trials), "results": [asdict(r) for r in results]}))


if __name__ == "__main__":
    main()
