"""Is the search over per-exit thresholds worth it? Against one shared threshold, MSDNet's rule, and random search.

    python benchmarks/populations.py ...   # once
    python benchmarks/searches.py [--samples 5000]

All are searched and judged on the same samples, so that this compares how well they search, not how they generalise
(that is `power.py`). MACs are compared at equal accuracy, for every accuracy within 3 points of the plain network's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

import offramp as ofr
from offramp.calibrators.paths import follow, shared_family
from offramp.calibrators.scoring import Floats, ScoreTable, score_table
from offramp.calibrators.search import search
from offramp.criteria import MaxProbability
from populations import populations
from provenance import write

WITHIN = 0.03
GRID = 2000
RATIOS = np.geomspace(0.02, 50, 2000)
DRAWS = 5000
SEED = 0


def shared(table: ScoreTable) -> Floats:
    """One threshold, from a fine grid."""
    outcomes = follow(table, shared_family(table, GRID))
    right = table.plain_correct.sum() - (outcomes.worse - outcomes.better).sum(axis=1)
    return cheapest(table, zip(right.tolist(), outcomes.mean_cost.tolist(), strict=True))


def geometric(table: ScoreTable) -> Floats:
    """MSDNet's rule: the share of all samples that leaves at exit k is proportional to q^k; thresholds are quantiles.

    Source: Huang et al. 2018, section 4.2 of the released code (dynamic inference), where q is varied.
    """
    return cheapest(table, (figures(table, by_shares(table, q ** np.arange(table.early + 1))) for q in RATIOS))


def by_shares(table: ScoreTable, weights: Floats) -> list[float]:
    """Thresholds with which samples leave in these proportions, as far as ties allow."""
    wanted = (weights / weights.sum() * table.samples).round().astype(int)
    inside = np.ones(table.samples, dtype=bool)
    thresholds = []
    for k in range(table.early):
        ordered = np.sort(table.scores[k][inside])[::-1]
        place = min(wanted[k], len(ordered))
        thresholds.append(float(ordered[place]) if place < len(ordered) else -np.inf)
        inside &= ~(table.scores[k] > thresholds[-1])
    return thresholds


def random(table: ScoreTable) -> Floats:
    """Quantiles drawn at random, most of them from the ends."""
    dice = np.random.default_rng(SEED)
    shares = dice.uniform(size=(DRAWS, table.early)) ** dice.choice([0.3, 1.0, 3.0], size=(DRAWS, 1))
    ordered = np.sort(table.scores, axis=1)
    places = (shares * (table.samples - 1)).astype(int)
    return cheapest(table, (figures(table, [float(ordered[k, p]) for k, p in enumerate(row)]) for row in places))


def figures(table: ScoreTable, thresholds: list[float]) -> tuple[int, float]:
    """Right answers and mean MACs."""
    taken = table.exits(thresholds)
    return int(table.correct[taken, np.arange(table.samples)].sum()), float(table.costs(thresholds)[taken].mean())


def cheapest(table: ScoreTable, found: Iterable[tuple[int, float]]) -> Floats:
    """`[n + 1]` least mean MACs with at least so many right answers."""
    least = np.full(table.samples + 1, np.inf)
    for right, macs in found:
        least[right] = min(least[right], macs)
    return np.minimum.accumulate(least[::-1])[::-1]


SEARCHES = {"one shared threshold": shared, "MSDNet's rule": geometric, "random search": random}


def compare(name: str, recording: ofr.Recording) -> dict[str, Any]:
    """One row: excess MACs of every search, and how often it is above the frontier."""
    table = score_table(recording, MaxProbability(), None)
    start = time.perf_counter()
    best = np.minimum.accumulate(search(table).cost[::-1])[::-1] / table.samples
    seconds = time.perf_counter() - start
    plain = int(table.plain_correct.sum())
    places = np.arange(plain - round(WITHIN * table.samples), plain + 1)
    excess, above = {}, {}
    for label, method in SEARCHES.items():
        other = method(table)[places]
        reached = np.isfinite(other)
        excess[label] = float((other[reached] / best[places][reached] - 1).mean())
        above[label] = float((other[reached] < best[places][reached] * (1 - 1e-12)).mean())
    return {"population": name, "samples": table.samples, "seconds": seconds, "excess": excess, "above": above}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=5000)
    samples = parser.parse_args().samples
    torch.set_num_threads(1)
    rows = []
    for name, population in populations().items():
        order = torch.randperm(population.samples, generator=torch.Generator().manual_seed(SEED))
        rows.append(compare(name, population.take(order[:samples])))
        print(rows[-1])
    asked = {"searches": list(SEARCHES), "within": WITHIN, "seed": SEED, "draws": DRAWS, "grid": GRID}
    print(write("searches", {**asked, "rows": rows}))


if __name__ == "__main__":
    main()
