"""Is a certificate what it says? Hundreds of seeded calibrations on problems whose truth is known.

    python benchmarks/populations.py ...   # once, for the recordings of real networks
    python benchmarks/validity.py [--trials 500] [--keep]

For every problem, number of calibration samples, delta and method: the share of calibrations whose policy truly misses
what was certified, and the true mean MACs of the policies chosen. A certificate is valid when that share is at most
delta, which is held against a binomial bound. Problems are in closed form, or a large recording whose samples are drawn
with replacement; the goals other than the drop are checked where there is a population to ask.

It runs for about half an hour on one core. What is finished is written at once, and `--keep` goes on where an earlier
run with the same settings ended.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import offramp as ofr
import problems
from offramp.binomial import lower_tail
from offramp.calibrators.learn_then_test import Trial as CertificateTrial
from offramp.calibrators.paths import Family, follow, shared_family
from offramp.calibrators.scoring import Ints, ScoreTable, score_table
from offramp.calibrators.tuned_family import tuned_family
from offramp.criteria import MaxProbability
from offramp.goals import AccuracyDrop, Agreement, ClassDrop, Goal, MACBudget, WorstDecileHarm
from offramp.goals.loss_goal import EVERYBODY
from populations import FOLDER
from problems import Population, Problem, Thresholds, edge, network, network_population, network_truth, resampled
from provenance import RESULTS, write

POINTS = 0.01
RELATIVE, AGREEMENT, CLASS_DROP, DECILE_HARM, BUDGET = 0.01, 0.98, 0.03, 0.05, 0.3
DELTA = 0.05
DELTAS = (0.05, 0.1)
GRID = 200
SIZES = (500, 1000, 2000, 5000)
REAL = ("fashion ResNet 0", "letters")
BOUND_LEVEL = 0.001
"""Probability with which a valid certificate would fail the binomial bound."""
TUNING_SEED = 10**7
EXCESS = 1e-9
ROUNDING = 1e-12
PROBLEMS = (
    edge("edge: drop at the budget", worse=0.03 + EXCESS, better=0.02),
    edge("edge: harm at the budget", worse=POINTS + EXCESS, better=0.0),
    Problem("network: four exits", network, network_truth, lambda: network_population(problems.POPULATION)),
)


@dataclass(frozen=True)
class Trial:
    """What one calibration led to.

    Attributes:
        missed: whether the policy truly misses the goal.
        drop: its true drop, a share.
        macs: its true mean MACs.
    """

    missed: bool
    drop: float
    macs: float


Method = Callable[[Problem, int, int, float], Trial]
"""`(problem, n, seed, delta) -> trial`."""
Choose = Callable[[Problem, int, int, float], ofr.Policy]


def within_points(choose: Choose) -> Method:
    """Holds the chosen policy's true drop against the budget."""

    def run(problem: Problem, samples: int, seed: int, delta: float) -> Trial:
        drop, macs = problem.truth(choose(problem, samples, seed, delta).thresholds)
        return Trial(drop > POINTS, drop, macs)

    return run


def certified(test: str, family: str = "shared") -> Choose:
    """Our certificate with one of its tests; the plain network where nothing can be certified.

    What `calibrate` does, less its evidence: all tests and deltas look at one draw, which is scored once.
    """

    def choose(problem: Problem, samples: int, seed: int, delta: float) -> ofr.Policy:
        table = drawn(problem, samples, seed)
        goal = AccuracyDrop(POINTS, delta=delta, test=test)  # type: ignore[arg-type]
        members = tuned(problem, samples, seed) if family == "tuned" else shared_family(table, GRID)
        best = CertificateTrial.of(table, goal, members, EVERYBODY).best
        return table.plain() if best is None else table.policy(members.thresholds[best].tolist())

    return choose


@lru_cache(maxsize=2)
def drawn(problem: Problem, samples: int, seed: int) -> ScoreTable:
    """Calibration samples."""
    recording = problem.draw(samples, seed)
    return score_table(recording, MaxProbability(), [1.0] * (recording.exits - 1))


@lru_cache(maxsize=2)
def tuned(problem: Problem, samples: int, seed: int) -> Family:
    """Per-exit thresholds from half as many other samples."""
    return tuned_family(drawn(problem, samples // 2, TUNING_SEED + seed), GRID)


def _policy(result: ofr.Calibrated | ofr.Infeasible) -> ofr.Policy:
    return result.policy if isinstance(result, ofr.Calibrated) else result.best


def naive(choose: Callable[[ofr.Recording], ofr.Policy]) -> Choose:
    """A choice without any delta."""
    return lambda problem, samples, seed, delta: choose(drawn(problem, samples, seed).recording)


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
    return ofr.calibrate(recording, goal=AccuracyDrop(POINTS)).unwrap()


Missed = Callable[[Population, Thresholds, ofr.Recording], bool]
"""`(population, thresholds, tuning) -> whether the goal is truly missed`."""


def asked_once(missed: Callable[[Population, Thresholds], bool]) -> Missed:
    """What depends on no tuning recording is asked once: shared thresholds come from one grid."""
    known = lru_cache(maxsize=4096)(missed)
    return lambda population, thresholds, tuning: known(population, thresholds)


@asked_once
def relative_drop(population: Population, thresholds: Thresholds) -> bool:
    """More than the share of the full network's accuracy is lost."""
    _, right, _ = population.outcome(thresholds)
    return int(right.sum()) < (1 - RELATIVE) * int(population.table.plain_correct.sum())


@asked_once
def disagreement(population: Population, thresholds: Thresholds) -> bool:
    """Too few answers are the full network's."""
    same = population.outcome(thresholds)[2] == population.table.answers[-1]
    return float(same.mean()) < AGREEMENT


@asked_once
def class_drop(population: Population, thresholds: Thresholds) -> bool:
    """Some class loses more than it may."""
    _, right, _ = population.outcome(thresholds)
    lost = population.table.plain_correct.astype(np.int8) - right.astype(np.int8)
    return bool((np.bincount(population.labels, lost) / np.bincount(population.labels) > CLASS_DROP + ROUNDING).any())


@asked_once
def over_budget(population: Population, thresholds: Thresholds) -> bool:
    """The mean cost is above the budget."""
    return population.truth(thresholds)[1] > BUDGET * population.table.cost.plain


@lru_cache(maxsize=4096)
def harmed(population: Population, thresholds: Thresholds) -> Ints:
    """Places of the harmed samples among all, ordered by the full network's confidence."""
    _, right, _ = population.outcome(thresholds)
    return np.flatnonzero((population.table.plain_correct & ~right)[population.by_confidence])


def decile_harm(population: Population, thresholds: Thresholds, tuning: ofr.Recording) -> bool:
    """Some part between the tuning recording's tenths is harmed more than it may be."""
    limits = np.quantile(problems.plain_confidence(tuning), np.arange(1, 10) / 10)
    cuts = np.searchsorted(population.sorted_confidence, limits)
    ends = np.array([0, *cuts, population.table.samples])
    counts = np.diff(np.searchsorted(harmed(population, thresholds), ends))
    return bool((counts > (DECILE_HARM + ROUNDING) * np.diff(ends)).any())


def kept(goal_at: Callable[[float], Goal], missed: Missed) -> Method:
    """Another goal than the drop, certified along one shared threshold."""

    def run(problem: Problem, samples: int, seed: int, delta: float) -> Trial:
        if problem.population is None:
            raise ValueError(f"{problem.name} has no population to ask.")
        recording, tuning = (
            drawn(problem, n, s).recording for n, s in ((samples, seed), (samples // 2, TUNING_SEED + seed))
        )
        plain = [1.0] * (recording.exits - 1)
        result = ofr.calibrate(
            recording, goal=goal_at(delta), temperatures=plain, tuning=tuning, family="shared", grid=GRID
        )
        thresholds = _policy(result).thresholds
        return Trial(missed(problem.population(), thresholds, tuning), *problem.truth(thresholds))

    return run


METHODS: dict[str, Method] = {
    **{
        f"certified: {test}": within_points(certified(test))
        for test in ("exact", "betting", "wsr", "harm", "hoeffding_bentkus")
    },
    "certified: exact, per exit": within_points(certified("exact", "tuned")),
    "naive: one threshold": within_points(naive(naive_shared)),
    "naive: per exit": within_points(naive(naive_per_exit)),
}
GOALS: dict[str, Method] = {
    f"certified goal: drop relative, {RELATIVE:g}": kept(
        lambda delta: AccuracyDrop(RELATIVE, delta=delta, relative=True), relative_drop
    ),
    f"certified goal: agreement, {AGREEMENT:g}": kept(lambda delta: Agreement(AGREEMENT, delta=delta), disagreement),
    f"certified goal: drop by class, {CLASS_DROP:g}": kept(
        lambda delta: ClassDrop(CLASS_DROP, delta=delta), class_drop
    ),
    f"certified goal: harm by tenth, {DECILE_HARM:g}": kept(
        lambda delta: WorstDecileHarm(DECILE_HARM, delta=delta), decile_harm
    ),
    f"certified goal: MACs, {BUDGET:g}": kept(lambda delta: MACBudget(share=BUDGET, delta=delta), over_budget),
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
        over_budget: how many of them chose a policy that truly misses the goal.
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
    return measure_all(problem, samples, [(method, delta)], trials, seed)[0]


def measure_all(
    problem: Problem, samples: int, asked: Sequence[tuple[str, float]], trials: int, seed: int = 0
) -> list[Result]:
    """Runs methods, each at a delta, on the same recordings."""
    known = METHODS | GOALS
    found: dict[tuple[str, float], list[Trial]] = {each: [] for each in asked}
    for trial in range(trials):
        for method, delta in asked:
            if trial < trials // SELDOM.get(method, 1):
                found[method, delta].append(known[method](problem, samples, seed + trial, delta))
    return [_result(problem, samples, method, delta, ran) for (method, delta), ran in found.items()]


def _result(problem: Problem, samples: int, method: str, delta: float, found: Sequence[Trial]) -> Result:
    trials, shares = len(found), np.array([trial.macs for trial in found]) / problem.draw(1, 0).plain_macs
    return Result(
        problem=problem.name,
        samples=samples,
        method=method,
        delta=delta,
        trials=trials,
        over_budget=sum(trial.missed for trial in found),
        bound=most_allowed(trials, delta),
        mean_drop=float(np.mean([trial.drop for trial in found])),
        mean_macs_share=float(shares.mean()),
        standard_error=float(shares.std() / np.sqrt(trials)),
    )


def conditions(trials: int) -> dict[str, Any]:
    """What was asked for."""
    last = problems.POPULATION_SEED + problems.POPULATION // problems.CHUNK - 1
    return {
        "seeds": [0, trials - 1],
        "points": POINTS,
        "deltas": list(DELTAS),
        "grid": GRID,
        "population": problems.POPULATION,
        "population_seeds": [problems.POPULATION_SEED, last],
        "bound_level": BOUND_LEVEL,
    }


def show(results: list[Result]) -> None:
    """Prints rows as a table."""
    table = Table(title="share that misses the goal, true mean drop and MACs")
    for column in ("problem", "n", "delta", "method", "missed", "allowed", "drop", "MACs"):
        table.add_column(column, no_wrap=True)
    for r in results:
        allowed = "-" if r.method.startswith("naive") else f"{r.bound / r.trials:.1%}"
        figures = (f"{r.over_budget / r.trials:.1%}", allowed, f"{r.mean_drop:.2%}", f"{r.mean_macs_share:.3f}")
        table.add_row(r.problem, str(r.samples), f"{r.delta:g}", r.method, *figures)
    Console(width=140).print(table)


def groups(chosen: list[Problem]) -> Iterator[tuple[Problem, int, list[tuple[str, float]]]]:
    """All problems and sizes, with methods and deltas to run on the same draws: the drop first, then other goals."""
    asked = [(METHODS, chosen), (GOALS, [problem for problem in chosen if problem.population is not None])]
    for methods, those in asked:
        # Naive choices know no delta.
        each = [(name, delta) for name in methods for delta in (DELTAS if name.startswith("certified") else DELTAS[:1])]
        yield from ((problem, samples, each) for problem, samples in itertools.product(those, SIZES))


def earlier(trials: int) -> list[Result]:
    """Rows of an earlier run with these settings, none where there is no such run."""
    path = RESULTS / "validity.json"
    data = json.loads(path.read_text(encoding="utf8")) if path.exists() else {}
    if any(data.get(name) != value for name, value in conditions(trials).items()):
        return []
    names = [field.name for field in fields(Result)]
    return [Result(**{name: row[name] for name in names}) for row in data["results"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--keep", action="store_true", help="keep the cells of an earlier run with these settings")
    options = parser.parse_args()
    torch.set_num_threads(1)
    real = [resampled(FOLDER / f"{name}.safetensors") for name in REAL if (FOLDER / f"{name}.safetensors").exists()]
    results = earlier(options.trials) if options.keep else []
    done = {(r.problem, r.samples, r.method, r.delta) for r in results}
    for problem, samples, each in groups([*PROBLEMS, *real]):
        missing = [one for one in each if (problem.name, samples, *one) not in done]
        results += measure_all(problem, samples, missing, options.trials)
        print(f"{problem.name}, n = {samples}: {len(missing)} methods", flush=True)
        write("validity", {**conditions(options.trials), "results": [asdict(r) for r in results]})
    show(results)


if __name__ == "__main__":
    main()
