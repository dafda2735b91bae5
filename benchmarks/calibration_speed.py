"""How long a calibration takes, and how much memory: each in a process of its own, the recording included.

python benchmarks/calibration_speed.py
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import torch

import offramp as ofr
from offramp.goals import AccuracyDrop, Goal
from provenance import write

SIZES = ((10_000, 4, 10), (50_000, 8, 1_000))
GOALS: dict[str, Goal] = {
    "empirical": AccuracyDrop(0.01),
    "certified, one threshold": AccuracyDrop(0.01, delta=0.05),
    "certified, per exit": AccuracyDrop(0.01, delta=0.05),
}
ROUNDS = 3
THREADS = 2


def recording(samples: int, exits: int, classes: int, seed: int = 0) -> ofr.Recording:
    """Exits of growing accuracy: a signal for the label in noise that they share for the most part."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (samples,), generator=generator)
    logits = torch.empty(exits, samples, classes)
    shared = torch.randn(samples, classes, generator=generator)
    for k in range(exits):
        logits[k].normal_(generator=generator).mul_(0.4).add_(shared, alpha=0.9).mul_(2)
        logits[k, torch.arange(samples), labels] += 6 + 3 * k / exits
    macs = [1e6 * (k + 1) for k in range(exits)]
    return ofr.Recording(logits, labels, macs, [1e3] * (exits - 1))


def once(goal: str, samples: int, exits: int, classes: int) -> dict[str, Any]:
    """Times one calibration in this process."""
    torch.set_num_threads(THREADS)
    full = recording(samples, exits, classes)
    tuning = recording(samples // 5, exits, classes, seed=1) if goal == "certified, per exit" else None
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        result = ofr.calibrate(full, goal=GOALS[goal], tuning=tuning)
        seconds.append(time.perf_counter() - start)
    return {
        "samples": samples,
        "exits": exits,
        "classes": classes,
        "goal": goal,
        "seconds": statistics.median(seconds),
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "recording_gib": full.logits.nbytes / 2**30,
        "macs_share": result.evidence.macs_share,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", nargs=4, metavar=("GOAL", "SAMPLES", "EXITS", "CLASSES"), help=argparse.SUPPRESS)
    wanted = parser.parse_args().once
    if wanted:
        print(json.dumps(once(wanted[0], *map(int, wanted[1:]))))
        return
    rows = []
    for size in SIZES:
        for goal in GOALS:
            command = [sys.executable, __file__, "--once", goal, *map(str, size)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    print(write("calibration_speed", {"rounds": ROUNDS, "threads": THREADS, "rows": rows}))


if __name__ == "__main__":
    main()
