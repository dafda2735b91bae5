"""The benchmark of training regimes: what a suite is, how one run is done, and what the runs together show.

A `Suite` (one TOML file) names problems, regimes and seeds; `bench` does every run that is not done yet and writes one
JSON file each; tables, findings and figures are pure functions of these files. `offramp bench regimes` is the command.
"""

from offramp.benchmark.results import Results, RunResult
from offramp.benchmark.scheduling import Shard, bench
from offramp.benchmark.suite import Entry, ProblemSpec, Suite

__all__ = ["Entry", "ProblemSpec", "Results", "RunResult", "Shard", "Suite", "bench"]
