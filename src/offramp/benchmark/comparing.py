"""Comparing regimes by paired seeds: differences on the same samples and first weights, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from offramp.benchmark.results import MATCHES, RunResult
from offramp.errors import BenchmarkError, MissingExtraError

CONFIDENCE = 0.95
LEAST_SEEDS = 5
"""Fewer pairs give intervals too, but no verdict."""

Measure = Callable[[RunResult], float | None]


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and the interval for it, by Student's t: `mean +- t sd / sqrt(n)`.

    Attributes:
        mean: over the seeds.
        low: lower end; -inf for a single seed.
        high: upper end.
        seeds: how many.
    """

    mean: float
    low: float
    high: float
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
        """From one value per seed.

        Raises:
            BenchmarkError: there is no value.

        Example:
            >>> Interval.of([0.0, 1.0, 2.0]).high
            3.484...
        """
        n = len(values)
        if not n:
            raise BenchmarkError("Interval.of([]): there is no seed to take a mean of.")
        mean = math.fsum(values) / n
        if n == 1:
            return cls(mean, -math.inf, math.inf, n)
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
        reach = student(confidence, n - 1) * deviation / math.sqrt(n)
        return cls(mean, mean - reach, mean + reach, n)

    @property
    def resolved(self) -> bool:
        """Whether it leaves zero out, with seeds enough for a verdict."""
        return self.seeds >= LEAST_SEEDS and not self.low <= 0 <= self.high

    @property
    def verdict(self) -> str:
        """In words, for a difference."""
        if self.seeds < LEAST_SEEDS:
            return f"too few seeds ({self.seeds} of {LEAST_SEEDS})"
        if not self.resolved:
            return "no difference"
        return "more" if self.mean > 0 else "less"


def student(confidence: float, freedom: int) -> float:
    """Two-sided quantile of Student's t: `P(|T| <= q) = confidence`.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    try:
        from scipy.stats import t
    except ImportError as error:
        raise MissingExtraError(
            "Intervals over seeds need SciPy, which is not installed. Run: pip install 'offramp[bench]'"
        ) from error
    return float(t.ppf((1 + confidence) / 2, freedom))


class Board:
    """The runs by problem, regime and seed, as far as they have the same in common.

    Args:
        runs: finished runs, of one suite.
        match: what is matched, see `results.MATCHES`; runs that match something else are left out.
    """

    def __init__(self, runs: Iterable[RunResult], match: str = MATCHES[0]) -> None:
        self._given = tuple(runs)
        self._runs: dict[str, dict[str, dict[int, RunResult]]] = {}
        for run in (one for one in self._given if one.key.match == match):
            self._runs.setdefault(run.key.problem, {}).setdefault(run.key.regime, {})[run.key.seed] = run

    def matched_by(self, match: str) -> Board:
        """The board of the runs that match this."""
        return Board(self._given, match)

    @property
    def problems(self) -> list[str]:
        """Names of the problems."""
        return list(self._runs)

    def regimes(self, problem: str) -> list[str]:
        """Names of the regimes that ran there: the three of the paper first, baselines left out."""
        named = [name for name, runs in self._runs.get(problem, {}).items() if not _is_baseline(runs)]
        first = [name for name in ("disjoint", "joint", "mixed") if name in named]
        return first + [name for name in named if name not in first]

    def with_exits(self, problem: str) -> list[str]:
        """Those of `regimes` under which early exits learned."""
        return [name for name in self.regimes(problem) if _exits_learned(self.runs(problem, name))]

    def baselines(self, problem: str) -> list[str]:
        """Names of the baselines that ran there."""
        return [name for name, runs in self._runs.get(problem, {}).items() if _is_baseline(runs)]

    def runs(self, problem: str, regime: str) -> Mapping[int, RunResult]:
        """Runs by seed; none where it did not run."""
        return self._runs.get(problem, {}).get(regime, {})

    def level(self, problem: str, regime: str, measure: Measure) -> Interval | None:
        """Mean of a measure over the seeds that have it."""
        values = [v for v in map(measure, self.runs(problem, regime).values()) if v is not None]
        return Interval.of(values) if values else None

    def difference(
        self, problem: str, regime: str, other: str, measure: Measure, confidence: float = CONFIDENCE
    ) -> Interval | None:
        """Mean of `measure(regime) - measure(other)` over the seeds that both have; None where there is none."""
        values = [a - b for a, b in self._pairs(problem, regime, other, measure)]
        return Interval.of(values, confidence) if values else None

    def ratio(self, problem: str, regime: str, other: str, measure: Measure) -> Interval | None:
        """Mean of `measure(regime) / measure(other)` over the seeds that both have; None where there is none."""
        values = [a / b for a, b in self._pairs(problem, regime, other, measure)]
        return Interval.of(values) if values else None

    def _pairs(self, problem: str, regime: str, other: str, measure: Measure) -> list[tuple[float, float]]:
        ours, theirs = self.runs(problem, regime), self.runs(problem, other)
        pairs = [(measure(ours[seed]), measure(theirs[seed])) for seed in sorted(ours.keys() & theirs.keys())]
        return [(a, b) for a, b in pairs if a is not None and b is not None]


def _is_baseline(runs: Mapping[int, RunResult]) -> bool:
    return any("baseline_accuracy" in run.figures for run in runs.values())


def _exits_learned(runs: Mapping[int, RunResult]) -> bool:
    return any(set(run.figures["training"]["phases"]) != {"backbone"} for run in runs.values())


def within(budget: float | None, criterion: str) -> Measure:
    """Test accuracy of the policy chosen for a budget, a share of the backbone's MACs; None is no limit."""

    def measure(run: RunResult) -> float | None:
        place = -1 if budget is None else run.figures["budgets"].index(budget)
        value: float | None = run.figures["frontier"][criterion]["test_accuracy"][place]
        return value

    return measure


def area(criterion: str) -> Measure:
    """Area under the frontier, see `scoring.area`."""
    return lambda run: float(run.figures["area"][criterion])


def final_exit(run: RunResult) -> float | None:
    """Test accuracy of the last exit, the backbone's own output."""
    return float(run.figures["exit_accuracy"]["test"][-1])


def seconds(run: RunResult) -> float | None:
    """Wall time of training."""
    return float(run.figures["seconds"]["training"])


def compute_spent(run: RunResult) -> float | None:
    """MACs spent in training, as a share of what may be spent at equal compute; 1 is a perfect match."""
    training = run.figures["training"]
    return float(training["macs"] / training["budget"])
