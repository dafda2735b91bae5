"""The tables about training regimes, from the runs and the analyses of the CPU suite; see `tables.py`.

python benchmarks/regimes_tables.py   # prints them
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from offramp.benchmark.answers import ANSWERS
from offramp.benchmark.comparing import Board
from offramp.benchmark.results import Results
from offramp.benchmark.tables import table

HERE = Path(__file__).parent
RUNS = HERE / "regimes" / "results" / "cpu"
ANALYSES = HERE / "regimes" / "results" / "analyses" / "pairs-resnet-seed0.json"


def answer(name: str) -> str:
    """One of the answers about training regimes.

    Raises:
        FileNotFoundError: nothing was measured yet.
    """
    runs = Results(RUNS).all()
    if not runs:
        raise FileNotFoundError(RUNS)
    board, made = Board(runs), runs[0].made
    seeds = sorted({run.key.seed for run in runs})
    commits = ", ".join(sorted({run.made["commit"][:8] for run in runs}))
    source = (
        f"`offramp bench regimes benchmarks/regimes/cpu.toml`: {len(runs)} runs, seeds {', '.join(map(str, seeds))}, "
        f"95 % intervals; {made['device']}, torch {made['versions']['torch']}, commit {commits} "
        f"(`{RUNS.relative_to(HERE.parent)}`)."
    )
    return f"{ANSWERS[name](board) or 'Not measured yet.'}\n\n{source}\n"


def inside() -> str:
    """What the analyses say of the networks of one seed.

    Raises:
        FileNotFoundError: they were not made yet.
    """
    found = json.loads(ANALYSES.read_text(encoding="utf8"))
    header = ["regime", "effective rank, first to last cut", "information / log M at the last cut, by noise"]
    header += ["last exit's share of the first block's step", "CKA of first and last cut"]
    rows = [[regime, *_last(snapshots[-1])] for regime, snapshots in found["snapshots"].items()]
    barriers = ", ".join(f"{name} {height:.2f}" for name, height in found["barriers"].items())
    source = (
        f"`python benchmarks/regimes/analyses.py`: {found['problem']}, seed {found['seed']}, held-out samples, after "
        f"training; commit {found['commit'][:8]} (`{ANALYSES.relative_to(HERE.parent)}`; figures beside it)."
    )
    return f"{table(header, rows)}\n\nBarriers on the straight lines, nats: {barriers}.\n\n{source}\n"


def _last(snapshot: Mapping[str, Any]) -> list[str]:
    ranks = [f"{value:.0f}" for value in snapshot["effective_ranks"].values()]
    swept = list(snapshot["information"].values())[-1]
    shares = [f"{point['share']:.2f} at {point['sigma']:g}" for point in swept if not point["saturated"]]
    share = snapshot["dominance"]["signed_shares"][0][-1]
    return [", ".join(ranks), ", ".join(shares), f"{share:.2f}", f"{snapshot['similarity'][0][-1]:.2f}"]


TABLES: dict[str, Callable[[], str]] = {**{name: partial(answer, name) for name in ANSWERS}, "regimes_inside": inside}


if __name__ == "__main__":
    for name, make in TABLES.items():
        print(f"== {name}\n{make()}")
