"""Which criterion for which goal, on recordings of real networks: what `offramp advise` says, as a table.

    python benchmarks/populations.py ...   # once
    python benchmarks/criteria_by_goal.py [--folds 4]

A quarter of every recording is for tuning (temperatures, families of certificates); the rest is judged in folds, each
by policies that were chosen on the others.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch

import offramp as ofr
from offramp.calibrators import fit_temperatures
from offramp.goals import AccuracyDrop, Agreement, ClassDrop, Goal, MACBudget
from offramp.metrics import exit_quality
from populations import populations
from provenance import write

GOALS: tuple[Goal, ...] = (
    AccuracyDrop(0.01),
    AccuracyDrop(0.01, delta=0.05),
    Agreement(0.98),
    Agreement(0.97, delta=0.05),
    ClassDrop(0.03),
    MACBudget(share=0.3),
)
TUNING = 0.25
SEED = 0
CONFIDENCE = 0.95


def advised(name: str, population: ofr.Recording, folds: int) -> dict[str, Any]:
    """Advice on one recording, and what its exits know of their own answers."""
    tuning, judged = population.split(TUNING, seed=SEED)
    advice = ofr.advise(judged, goals=GOALS, tuning=tuning, folds=folds, confidence=CONFIDENCE, seed=SEED)
    print(f"{name}: {advice.describe()}", flush=True)
    temperatures = fit_temperatures(tuning)
    return {
        "population": name,
        "tuning_samples": tuning.samples,
        "advice": advice.to_dict(),
        "sentence": advice.describe(),
        "exits": [row.to_dict() for row in exit_quality(judged)],
        "exits_with_temperatures": [row.to_dict() for row in exit_quality(judged, temperatures=temperatures)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folds", type=int, default=4)
    folds = parser.parse_args().folds
    torch.set_num_threads(1)
    found = [advised(name, population, folds) for name, population in populations().items()]
    asked = {"folds": folds, "seed": SEED, "confidence": CONFIDENCE, "tuning": TUNING}
    print(write("criteria_by_goal", {**asked, "recordings": found}))


if __name__ == "__main__":
    main()
