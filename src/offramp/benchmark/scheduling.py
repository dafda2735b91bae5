"""`bench`: which runs a suite has, and doing those that are not done yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from offramp.benchmark.paces import pace
from offramp.benchmark.results import Results, RunKey, RunResult
from offramp.benchmark.running import Problem, config, pace_config, run, run_baseline
from offramp.benchmark.suite import Entry, Suite
from offramp.errors import BenchmarkError


@dataclass(frozen=True)
class Shard:
    """The i-th of n equal shares of the runs, for a job array; i counts from 1.

    Example:
        >>> list(Shard.parse("2/3").of(range(7)))
        [1, 4]
    """

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Reads "i/n".

        Raises:
            BenchmarkError: it is something else, or i is not among 1 .. n.
        """
        index, _, count = text.partition("/")
        if index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count):
            return cls(int(index), int(count))
        raise BenchmarkError(f"--shard {text}: give I/N with I from 1 to N, e.g. 1/4, 2/4, 3/4 and 4/4.")

    def of(self, runs: Iterable[Any]) -> Iterator[Any]:
        """Every n-th, from the i-th on."""
        return (item for k, item in enumerate(runs) if k % self.count == self.index - 1)


@dataclass(frozen=True)
class Planned:
    """A run to do; `entry` is None for a baseline."""

    key: RunKey
    entry: Entry | None
    config: Mapping[str, Any]


def planned(suite: Suite) -> list[Planned]:
    """All runs, seed by seed: what is there after an interruption then compares all regimes on the first seeds."""
    runs = []
    for seed in suite.seeds:
        for name, spec in suite.problems.items():
            if spec.baseline is not None:
                runs.append(Planned(RunKey(name, spec.baseline, seed), None, config(suite, spec, None, seed)))
            for regime, entry in suite.entries(name).items():
                chosen = config(suite, spec, entry, seed)
                runs += [Planned(RunKey(name, regime, seed, match), entry, chosen) for match in entry.match]
    return runs


def bench(
    suite: Suite,
    results: Results,
    device: torch.device,
    *,
    shard: Shard = Shard(),
    made: Mapping[str, Any] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> int:
    """Does what is not done yet.

    Args:
        suite: what there is to do.
        results: where finished runs are, and new ones go.
        device: where to train.
        shard: the share of the runs to do here.
        made: facts about machine and code, kept with every run.
        tell: is given a line for every run.

    Returns:
        How many runs were done.

    Raises:
        BenchmarkError: a finished run has another configuration.
        DataError: a data set cannot be had. Both are looked at before anything is run.
    """
    runs = list(shard.of(planned(suite)))
    todo = [item for item in runs if not results.finished(item.key, item.config)]
    tell(f"{len(runs)} runs, {len(runs) - len(todo)} of them done.")
    problems = {name: Problem(spec, device) for name, spec in suite.problems.items()}
    for item in {item.key.problem: item for item in reversed(todo)}.values():
        # An hour of runs must not end at a data set that is not there.
        problems[item.key.problem].parts(item.key.seed)
    spent = 0.0
    for number, item in enumerate(todo, start=1):
        figures = _figures(suite, item, problems[item.key.problem], results, made or {})
        results.add(RunResult(item.key, dict(item.config), figures, dict(made or {})))
        spent += figures["seconds"]["total"]
        left = spent / number * (len(todo) - number)
        tell(f"{number}/{len(todo)}  {item.key}: {_summary(figures)}  (about {left / 60:.0f} min left)")
    return len(todo)


def _figures(
    suite: Suite, item: Planned, problem: Problem, results: Results, made: Mapping[str, Any]
) -> dict[str, Any]:
    key, entry = item.key, item.entry
    if entry is None:
        return run_baseline(problem, key)
    checkpoints = results.scratch(key) if suite.checkpoints else None
    if key.match != "time":
        return run(problem, entry, key, problem.length(entry, key.seed), suite.criteria, checkpoints)
    path = results.folder / "paces" / key.problem / f"{key.regime}.json"
    known = pace(path, pace_config(problem.spec, entry), made, lambda: problem.pace(entry, key.seed))
    length = problem.length(entry, key.seed, known)
    return {**run(problem, entry, key, length, suite.criteria, checkpoints), "pace": known.to_dict()}


def _summary(figures: Mapping[str, Any]) -> str:
    seconds = f"{figures['seconds']['total']:.1f} s"
    if "baseline_accuracy" in figures:
        return f"{figures['baseline_accuracy']:.1%}, {seconds}"
    area = next(iter(figures["area"].values()))
    exits = " ".join(f"{100 * share:.1f}" for share in figures["exit_accuracy"]["test"])
    return f"exits {exits} %, area {100 * area:.2f}, {seconds}"
