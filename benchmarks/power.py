"""What does a certificate cost? Naive choices, one certified threshold, and certified per-exit thresholds.

    python benchmarks/populations.py ...   # once
    python benchmarks/power.py [--trials 200] [--samples 500 1000 5000]

From every recording of `populations.py`, n calibration samples and n / 2 tuning samples are drawn, as often as there
are trials; every method gets the same. The tuning samples are what `calibrate(tuning=...)` takes, as a validation split
does in the command line: all methods have their temperatures from them, the tuned family its thresholds too. The
methods named "of n" have no tuning samples but split them off the n. "Without" leaves one step of the tuned family out;
"one temperature" gives all exits the mean of theirs; "bound" tunes the family on the whole recording, which nobody can
have: what a better construction could gain at most.

Per method: how often the policy truly loses more than the budget, and the true mean MACs.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import offramp as ofr
from offramp.calibrators import fit_temperatures, tuned_family
from offramp.calibrators.paths import follow, shared_family
from offramp.calibrators.scoring import score_table
from offramp.criteria import MaxProbability
from populations import populations
from provenance import write

POINTS, DELTA, GRID = 0.01, 0.1, 200
TUNING = 0.5
"""Tuning samples per calibration sample."""
SPLIT = 0.2
TESTS = ("exact", "betting", "wsr", "harm", "hoeffding_bentkus")
ONE = "one threshold, "
PER_EXIT = "per exit, "


@dataclass(frozen=True)
class Draw:
    """What one trial has to choose from."""

    population: ofr.Recording
    calibration: ofr.Recording
    tuning: ofr.Recording
    temperatures: tuple[float, ...]


Method = Callable[[Draw], ofr.Policy]


def naive_shared(draw: Draw) -> ofr.Policy:
    """The cheapest shared threshold whose drop on the calibration samples is within the budget."""
    table = score_table(draw.calibration, MaxProbability(), draw.temperatures)
    family = shared_family(table, GRID)
    outcomes = follow(table, family)
    best = np.where(outcomes.drop <= POINTS, outcomes.mean_cost, np.inf).argmin()
    return table.policy(family.thresholds[best].tolist())


def naive_per_exit(draw: Draw) -> ofr.Policy:
    """The empirical goal."""
    goal = ofr.goals.AccuracyDrop(POINTS)
    return ofr.calibrate(draw.calibration, goal=goal, temperatures=draw.temperatures).unwrap()


def certified(test: str, family: str) -> Method:
    """The certificate; the plain network where nothing can be certified."""
    goal = ofr.goals.AccuracyDrop(POINTS, delta=DELTA, test=test)  # type: ignore[arg-type]

    def choose(draw: Draw) -> ofr.Policy:
        return _policy(
            ofr.calibrate(
                draw.calibration,
                goal=goal,
                temperatures=draw.temperatures,
                tuning=draw.tuning,
                family=family,  # type: ignore[arg-type]
                grid=GRID,
            )
        )

    return choose


def certified_of_n(family: str) -> Method:
    """With nothing but n samples: all of them for one threshold, or a fifth of them to tune per-exit thresholds."""
    goal = ofr.goals.AccuracyDrop(POINTS, delta=DELTA)

    def choose(draw: Draw) -> ofr.Policy:
        if family == "shared":
            return _policy(ofr.calibrate(draw.calibration, goal=goal, grid=GRID))
        tuning, rest = draw.calibration.split(SPLIT)
        return _policy(ofr.calibrate(rest, goal=goal, tuning=tuning, grid=GRID))

    return choose


def certified_without(**constants: float) -> Method:
    """The tuned family with other constants, and the exact test."""

    def choose(draw: Draw) -> ofr.Policy:
        before = {name: getattr(tuned_family, name) for name in constants}
        try:
            for name, value in constants.items():
                setattr(tuned_family, name, value)
            return certified("exact", "tuned")(draw)
        finally:
            for name, value in before.items():
                setattr(tuned_family, name, value)

    return choose


def one_temperature(draw: Draw) -> ofr.Policy:
    """The tuned family with the exits' mean temperature for all of them, and the exact test."""
    mean = math.exp(math.fsum(map(math.log, draw.temperatures)) / len(draw.temperatures))
    return certified("exact", "tuned")(replace(draw, temperatures=(mean,) * len(draw.temperatures)))


def bound(draw: Draw) -> ofr.Policy:
    """The tuned family from the whole recording."""
    return certified("exact", "tuned")(replace(draw, tuning=draw.population))


def _policy(result: ofr.Calibrated | ofr.Infeasible) -> ofr.Policy:
    return result.policy if isinstance(result, ofr.Calibrated) else result.best


METHODS: dict[str, Method] = {
    "naive, one threshold": naive_shared,
    "naive, per exit": naive_per_exit,
    **{f"{ONE}{test}": certified(test, "shared") for test in TESTS},
    **{f"{PER_EXIT}{test}": certified(test, "tuned") for test in ("exact", "harm")},
    f"{ONE}exact, of n": certified_of_n("shared"),
    f"{PER_EXIT}exact, of n": certified_of_n("tuned"),
    f"{PER_EXIT}exact, without soft losses": certified_without(SOFT=0.0),
    f"{PER_EXIT}exact, without bagging": certified_without(BAGS=1),
    f"{PER_EXIT}exact, without shrinking": certified_without(SHRINKING=0.0),
    f"{PER_EXIT}exact, one temperature": one_temperature,
    f"{PER_EXIT}exact, bound": bound,
}


@dataclass(frozen=True)
class Row:
    """One method on one recording.

    Attributes:
        population: the recording.
        samples: n.
        method: how the policy was chosen.
        over_budget: share of trials whose policy truly loses more.
        mean_drop: true drop, a share.
        macs_share: true mean MACs as a share of the plain network's.
        standard_error: of `macs_share`.
        to_naive: `macs_share` over that of the naive shared threshold.
        to_one_threshold: `macs_share` over that of the best certificate of one threshold; above 1 is dearer.
        to_one_threshold_error: standard error of that ratio, paired over trials.
    """

    population: str
    samples: int
    method: str
    over_budget: float
    mean_drop: float
    macs_share: float
    standard_error: float
    to_naive: float
    to_one_threshold: float
    to_one_threshold_error: float


def draws(population: ofr.Recording, samples: int, trials: int) -> Iterator[Draw]:
    """Seeded calibration and tuning samples, with replacement."""
    for seed in range(trials):
        generator = torch.Generator().manual_seed(seed)
        rows = [
            torch.randint(population.samples, (n,), generator=generator) for n in (samples, round(TUNING * samples))
        ]
        calibration, tuning = (population.take(index) for index in rows)
        yield Draw(population, calibration, tuning, fit_temperatures(tuning))


def truth(population: ofr.Recording, policy: ofr.Policy) -> tuple[float, float]:
    """True drop and mean MACs as a share of the plain network's."""
    decisions = ofr.simulate(population, policy)
    return ofr.metrics.drop(decisions, population), decisions.mean_macs / population.plain_macs


def measure(name: str, population: ofr.Recording, samples: int, trials: int) -> list[Row]:
    """All methods on the same draws."""
    found: dict[str, list[tuple[float, float]]] = {method: [] for method in METHODS}
    for draw in draws(population, samples, trials):
        for method, choose in METHODS.items():
            found[method].append(truth(population, choose(draw)))
    figures = {method: np.array(pairs) for method, pairs in found.items()}
    macs = {method: pairs[:, 1] for method, pairs in figures.items()}
    best = min((m for m in macs if m.startswith(ONE)), key=lambda m: macs[m].mean())
    return [_row(name, samples, method, figures[method], macs, macs[best]) for method in METHODS]


def _row(
    name: str, samples: int, method: str, figures: np.ndarray, macs: dict[str, np.ndarray], best: np.ndarray
) -> Row:
    own, trials = macs[method], len(best)
    return Row(
        population=name,
        samples=samples,
        method=method,
        over_budget=float((figures[:, 0] > POINTS + 1e-12).mean()),
        mean_drop=float(figures[:, 0].mean()),
        macs_share=float(own.mean()),
        standard_error=float(own.std() / trials**0.5),
        to_naive=float(own.mean() / macs["naive, one threshold"].mean()),
        to_one_threshold=float(own.mean() / best.mean()),
        to_one_threshold_error=float((own - best * own.mean() / best.mean()).std() / best.mean() / trials**0.5),
    )


def show(rows: list[Row]) -> None:
    """Prints the table."""
    table = Table(title=f"budget {100 * POINTS:g} point, delta {DELTA:g}")
    for column in ("recording", "n", "method", "over budget", "drop", "MACs", "x naive", "x best one-threshold"):
        table.add_column(column, no_wrap=True)
    for r in rows:
        ratio = f"{r.to_one_threshold:.3f} +- {r.to_one_threshold_error:.3f}"
        macs = f"{r.macs_share:.3f} +- {r.standard_error:.3f}"
        cells = [f"{r.over_budget:.1%}", f"{r.mean_drop:.2%}", macs, f"{r.to_naive:.3f}", ratio]
        table.add_row(r.population, str(r.samples), r.method, *cells)
    Console(width=150).print(table)


def conditions(trials: int) -> dict[str, Any]:
    """What was asked for."""
    return {
        "points": POINTS,
        "delta": DELTA,
        "trials": trials,
        "seeds": [0, trials - 1],
        "grid": GRID,
        "tuning": TUNING,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--samples", type=int, nargs="+", default=[500, 1000, 5000])
    parser.add_argument("--brief", action="store_true", help="leave out what leaves steps out")
    options = parser.parse_args()
    if options.brief:
        for method in [method for method in METHODS if "without" in method]:
            del METHODS[method]
    torch.set_num_threads(1)
    rows: list[Row] = []
    for samples in options.samples:
        for name, population in populations().items():
            rows += measure(name, population, samples, options.trials)
            show(rows[-len(METHODS) :])
            # It runs for long: what is done is kept.
            path = write("power", {**conditions(options.trials), "rows": [asdict(r) for r in rows]})
    print(path)


if __name__ == "__main__":
    main()
