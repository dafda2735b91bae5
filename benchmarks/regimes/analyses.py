"""Looks inside networks while disjoint, joint and mixed training make them, and draws what is there.

    python benchmarks/regimes/analyses.py                                  # pairs-resnet of the CPU suite, seed 0
    python benchmarks/regimes/analyses.py --problem fashion-vit --seed 1
    python benchmarks/regimes/analyses.py --figures                        # figures again, from the JSON alone

Writes `results/analyses/PROBLEM-seedN.json` and figures beside it. One seed: what happened, not what always happens.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from offramp.analysis import Direction, Recorder, Snapshot, Surroundings, figures, filter_normalised, plane_through
from offramp.analysis.landscape import weights_of
from offramp.analysis.panels import saved
from offramp.benchmark import Entry, Suite
from offramp.benchmark.running import Problem
from offramp.training import fit

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from provenance import provenance  # noqa: E402

REGIMES = ("disjoint", "joint", "mixed")
PAIRS = (("disjoint", "mixed"), ("mixed", "joint"), ("joint", "disjoint"))
RECORDED, JUDGED = 256, 512
STEPS = [round(-1 + 0.2 * k, 1) for k in range(11)]


def main() -> None:
    """Trains and looks, or draws again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", type=Path, default=HERE / "cpu.toml")
    parser.add_argument("--problem", default="pairs-resnet")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figures", action="store_true")
    asked = parser.parse_args()
    path = HERE / "results" / "analyses" / f"{asked.problem}-seed{asked.seed}.json"
    if not asked.figures:
        found = looked_into(Suite.load(asked.suite), asked.problem, asked.seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**provenance(), **found}, allow_nan=False) + "\n", encoding="utf8")
    for drawn in draw(json.loads(path.read_text(encoding="utf8")), path.with_suffix("")):
        print(drawn)


def looked_into(suite: Suite, name: str, seed: int) -> dict[str, Any]:
    """Everything about the networks of the three regimes."""
    problem = Problem(suite.problems[name], torch.device("cpu"))
    held_out = problem.parts(seed).calibration
    snapshots, solutions = {}, {}
    for regime in REGIMES:
        recorder = Recorder(held_out.inputs[:RECORDED], held_out.labels[:RECORDED])
        solutions[regime] = trained(suite, problem, regime, seed, recorder)
        snapshots[regime] = [asdict(one) for one in recorder.snapshots]
        print(f"{regime}: {len(recorder.snapshots)} snapshots", flush=True)
    space = surroundings(problem, seed, held_out.inputs[:JUDGED], held_out.labels[:JUDGED])
    return {"problem": name, "seed": seed, "snapshots": snapshots, **between(space, solutions)}


def trained(suite: Suite, problem: Problem, regime: str, seed: int, recorder: Recorder) -> Direction:
    """The weights after a run as the benchmark does it."""
    entry = suite.regimes[regime]
    length, model = problem.length(entry, seed), problem.model(entry, seed)
    fit(
        model,
        problem.parts(seed).train.training(problem.spec.batch_size, length.steps),
        regime=entry.make(),
        epochs=length.epochs,
        seed=seed,
        progress=False,
        callbacks=[recorder],
        **problem.fit_options(),
    )
    return weights_of(model)


def surroundings(problem: Problem, seed: int, inputs: Tensor, labels: Tensor) -> Surroundings:
    """Losses on held-out samples, batch statistics from training samples."""

    def loss(model: nn.Module) -> float:
        return sum(float(cross_entropy(logits, labels)) for logits in model(inputs)) / model.exits  # type: ignore[operator]

    train = problem.parts(seed).train
    batches = [(train.inputs[:JUDGED], train.labels[:JUDGED])]
    model = problem.model(Entry(regime="joint"), seed)
    return Surroundings(model, loss, batches=batches, samples=JUDGED)


def between(space: Surroundings, solutions: Mapping[str, Direction]) -> dict[str, Any]:
    """Lines between the solutions, the plane through them, and the surroundings of each."""
    barriers, paths = {}, {}
    for first, second in PAIRS:
        name = f"{first} to {second}"
        barriers[name], paths[name] = space.barrier(solutions[first], solutions[second])
    plane = plane_through(*(solutions[regime] for regime in REGIMES))
    across, up, losses = space.over(plane, steps=9)
    around = {regime: space.along(weights, direction(space, weights), STEPS) for regime, weights in solutions.items()}
    return {
        "barriers": barriers,
        "paths": paths,
        "plane": {
            "across": across.tolist(),
            "up": up.tolist(),
            "losses": losses.tolist(),
            "points": plane.points.tolist(),
        },
        "around": {"steps": STEPS, "losses": around},
    }


def direction(space: Surroundings, weights: Direction) -> Direction:
    """The same random numbers for every solution, scaled to its own filters."""
    space.model.load_state_dict(weights, strict=False)
    return filter_normalised(space.model, seed=0)


def draw(found: Mapping[str, Any], folder: Path) -> list[Path]:
    """Every figure, from the plain data."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = {regime: [Snapshot(**one) for one in rows] for regime, rows in found["snapshots"].items()}
    last = {regime: rows[-1] for regime, rows in taken.items()}
    plane = found["plane"]
    drawn = {
        **{f"dominance-{regime}": figures.dominance(rows) for regime, rows in taken.items()},
        "ranks": figures.ranks(last),
        "information": figures.information(last),
        "similarity": figures.similarity(last),
        "lines": figures.lines(found["paths"]),
        "around": figures.lines(found["around"]["losses"], found["around"]["steps"], "filter-normalised step"),
        "plane": figures.plane(plane["across"], plane["up"], plane["losses"], plane["points"], REGIMES),
    }
    return [path for name, figure in drawn.items() for path in saved(figure, folder / name)]


if __name__ == "__main__":
    main()
