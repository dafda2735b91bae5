"""`offramp bench`: benchmarks of whole suites; for now `offramp bench regimes`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from offramp.cli.options import Common

SUITE = Path("benchmarks/regimes/cpu.toml")

app = App(name="bench", help="Run a benchmark suite: each run writes one file, and what is done is not done again.")


@app.command
def regimes(
    suite: Path = SUITE,
    *,
    quick: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    out: Path | None = None,
    shard: str = "1/1",
    tables: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    common: Common = Common(),  # noqa: B008 - frozen, so sharing it is safe
) -> None:
    """Compare training regimes at equal compute and for equal time, with paired seeds.

    Every run (a regime on a problem with a seed) writes one JSON file below the results folder. A run that is there
    is not done again, so an interrupted suite goes on with the same command, and several machines share one folder by
    --shard. Tables and figures are made from the files alone.

    Args:
        suite: TOML file that names problems, regimes and seeds.
        quick: only the problems, regimes and seeds of its table [quick].
        out: results folder; by default runs/bench/NAME.
        shard: do the I-th of N shares of the runs, given as I/N.
        tables: run nothing; make tables and figures from what is there.
        common: options of every command.
    """
    from offramp.benchmark import Results, Shard, Suite
    from offramp.cli.session import Session
    from offramp.cli.steps import benchmarking

    session = Session(common)
    asked = Suite.load(suite, quick)
    if common.seed is not None:
        asked = benchmarking.with_seed(asked, common.seed)
    results = Results(out or Path("runs") / "bench" / asked.name)
    if not tables:
        benchmarking.run(asked, results, Shard.parse(shard), session)
    session.deliver(benchmarking.show(results, session))
