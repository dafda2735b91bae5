"""How long `import offramp` takes, beside an interpreter that does nothing and one that loads torch.

    python benchmarks/import_time.py [--runs 7]

Every run is a fresh interpreter; the three kinds alternate. The result is the median wall time of each, in seconds, and
what importing adds to the bare interpreter.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from provenance import write

STATEMENTS = {
    "bare": "pass",
    "offramp": "import offramp",
    "attach": "from offramp import attach",
    "torch": "import torch",
}


def wall(statement: str) -> float:
    """Seconds from start to end of an interpreter that runs `statement`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def measured(runs: int) -> dict[str, list[float]]:
    """Wall times of every kind, after one round that fills the file cache and is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for turn in range(runs + 1):
        for name, statement in STATEMENTS.items():
            elapsed = wall(statement)
            if turn:
                seconds[name].append(elapsed)
    return seconds


def main() -> None:
    """Measures, prints and writes benchmarks/results/import_time.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    seconds = measured(runs)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    added = medians["offramp"] - medians["bare"]
    for name, median in medians.items():
        print(f"{name:>8}  {median:.3f} s  ({min(seconds[name]):.3f} to {max(seconds[name]):.3f}, {runs} runs)")
    print(f"import offramp adds {1000 * added:.1f} ms to a bare interpreter")
    path = write("import_time", {"runs": runs, "median_s": medians, "offramp_adds_s": added, "all_s": seconds})
    print(f"written to {path}")


if __name__ == "__main__":
    main()
