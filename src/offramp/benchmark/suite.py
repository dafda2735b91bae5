"""A suite: problems x regimes x seeds, read from one TOML file; all its mistakes are reported at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from offramp import regimes
from offramp.benchmark.baselines import check_baseline
from offramp.benchmark.networks import check_network
from offramp.benchmark.results import MATCHES
from offramp.benchmark.sources import check_source
from offramp.criteria import CRITERIA
from offramp.errors import BenchmarkError, OfframpError, closest
from offramp.heads import HEADS
from offramp.regimes import Regime

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
CRITERIA_OF_THE_PAPER = ("max_probability", "entropy", "patience")
FIT_OPTIONS = (
    "optimizer", "lr", "momentum", "weight_decay", "nesterov", "schedule", "warmup", "precision", "channels_last"
)  # fmt: skip
LEARNED = "learned"
_COUNTS = ("epochs", "batch_size", "train", "calibration", "test")


@dataclass(frozen=True)
class ProblemSpec:
    """A network on a data set, and how it is trained: all that the regimes have in common.

    Args:
        data: name of a data set, see `sources.SOURCES`.
        network: name of a family or of an architecture, see `networks.FAMILIES`.
        at: where the exits are, see `offramp.attach`.
        train: samples that train, drawn anew with every seed.
        calibration: samples that choose the thresholds; disjoint from those that train.
        test: samples that judge, the same for every seed.
        epochs: of joint training; what these cost is what every regime may spend, times its `compute`.
        batch_size: samples per step.
        head: name of the exit heads.
        data_options: further arguments of the data set.
        network_options: further arguments of the network.
        fit: options of `offramp.fit`, of which those in `FIT_OPTIONS` may be given.
        regimes: names of the regimes that run here; None means all.
        baseline: name of a baseline without exits, see `baselines.BASELINES`.
    """

    data: str
    network: str
    at: list[str | float]
    train: int
    calibration: int
    test: int
    epochs: int
    batch_size: int = 64
    head: str = "pooled_linear"
    data_options: dict[str, Any] = field(default_factory=dict)
    network_options: dict[str, Any] = field(default_factory=dict)
    fit: dict[str, Any] = field(default_factory=dict)
    regimes: list[str] | None = None
    baseline: str | None = None

    def problems(self) -> Iterator[str]:
        """What is wrong with it."""
        for name in _COUNTS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                yield f"{name} = {value!r}: give a whole number of at least 1"
        if self.batch_size > self.train:
            yield f"batch_size = {self.batch_size} exceeds train = {self.train}: no step could be made"
        yield from _complaint("head", lambda: HEADS[self.head])
        yield from _complaint("data", lambda: check_source(self.data))
        yield from _complaint("network", lambda: check_network(self.network))
        if self.baseline is not None:
            yield from _complaint("baseline", lambda: check_baseline(self.baseline or ""))
        unknown = sorted(set(self.fit) - set(FIT_OPTIONS))
        if unknown:
            yield f"fit.{unknown[0]}: there is no such option here. {closest(unknown[0], FIT_OPTIONS)}"


@dataclass(frozen=True)
class Entry:
    """A regime with its parameters and its share of compute: one row of the tables.

    Args:
        regime: name of a registered regime, or a table with its name and parameters, see `regimes.from_dict`.
        compute: what it may spend in training, as a multiple of what joint training costs.
        head: exit heads other than the problem's.
        criteria: other names for the suite's criteria, e.g. `{max_probability = "geometric_ensemble"}` for a regime
            whose exits answer together; "learned" is the one that training has taught, see `History.criterion`.
        match: what its runs have in common with joint training's: "compute", "time", or one run for either.
    """

    regime: str | dict[str, Any]
    compute: float = 1.0
    head: str | None = None
    criteria: dict[str, str] = field(default_factory=dict)
    match: list[str] = field(default_factory=lambda: list(MATCHES))

    def make(self) -> Regime:
        """The regime.

        Raises:
            TrainingError: there is none of this name, or its parameters are impossible.
        """
        return regimes.from_dict(self.regime)

    def problems(self) -> Iterator[str]:
        """What is wrong with it."""
        yield from _complaint("regime", self.make)
        if isinstance(self.compute, bool) or not isinstance(self.compute, int | float) or not 0 < self.compute < 1e3:
            yield f"compute = {self.compute!r}: give a multiple of joint training's compute, above 0"
        if self.head is not None:
            yield from _complaint("head", lambda: HEADS[self.head or ""])
        for name in self.criteria.values():
            if name != LEARNED:
                yield from _complaint("criteria", lambda name=name: CRITERIA[name])
        yield from _match_problems("match", self.match)


@dataclass(frozen=True)
class Suite:
    """What is to be run.

    Args:
        name: of the suite.
        problems: by name.
        regimes: by name.
        seeds: each gives every regime the same samples, the same first weights and the same order of batches.
        criteria: names of those that decide, one column group each; the first is the one of the area and the figures.
        checkpoints: whether a run that is interrupted goes on in the middle; for runs of minutes.

    Example:
        >>> sorted(Suite.load("benchmarks/regimes/cpu.toml").problems)  # doctest: +SKIP
        ['fashion-resnet', 'fashion-vit', 'news-transformer', 'pairs-resnet', 'pairs-vit']
    """

    name: str
    problems: Mapping[str, ProblemSpec]
    regimes: Mapping[str, Entry]
    seeds: tuple[int, ...]
    criteria: tuple[str, ...] = CRITERIA_OF_THE_PAPER
    checkpoints: bool = False

    @classmethod
    def load(cls, path: str | Path, quick: bool = False) -> Self:
        """Reads a TOML file.

        Args:
            path: of the file.
            quick: take only the problems, regimes, seeds and kinds of match that its table `[quick]` names.

        Raises:
            BenchmarkError: it is missing, no TOML, or has mistakes; all of them are named.
        """
        try:
            data = tomllib.loads(Path(path).read_text(encoding="utf8"))
        except FileNotFoundError as error:
            raise BenchmarkError(
                f"There is no suite {path}. Those of the repository are benchmarks/regimes/*.toml; run from its root."
            ) from error
        except (OSError, ValueError) as error:
            raise BenchmarkError(f"{path} cannot be read as TOML ({error}).") from error
        return cls.from_dict(data, str(path), quick)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "the suite", quick: bool = False) -> Self:
        """The suite of plain data; see `load`."""
        found: list[str] = []
        rest = {key: value for key, value in data.items() if key not in ("problems", "regimes", "quick")}
        tables = {
            "problems": _members(ProblemSpec, data.get("problems"), "problems", found),
            "regimes": _members(Entry, data.get("regimes"), "regimes", found),
        }
        suite = _made(cls, {**rest, **tables}, "", found)
        if suite is not None:
            suite = replace(suite, seeds=_as_tuple(suite.seeds), criteria=_as_tuple(suite.criteria))
            found.extend(suite.mistakes())
        if not found and suite is not None and quick:
            suite = suite._quick(data.get("quick"), found)
        if found or suite is None:
            lines = "".join(f"\n  {line}" for line in found)
            raise BenchmarkError(f"{where} has {len(found)} mistake{'s' * (len(found) > 1)}:{lines}")
        return suite

    def mistakes(self) -> Iterator[str]:
        """What is wrong, each with the path of its field."""
        if not self.seeds or any(isinstance(s, bool) or not isinstance(s, int) or s < 0 for s in self.seeds):
            yield f"seeds = {list(self.seeds)}: give a list of whole numbers of at least 0"
        for criterion in self.criteria:
            yield from _complaint("criteria", lambda criterion=criterion: CRITERIA[criterion])
        for kind, members in (("problems", self.problems), ("regimes", self.regimes)):
            if not members:
                yield f"{kind}: there is none; add a table [{kind}.NAME]"
            for name, member in members.items():
                yield from (f"{kind}.{name}.{line}" for line in member.problems())
        for name, problem in self.problems.items():
            yield from _unknown_names(f"problems.{name}.regimes", problem.regimes or (), self.regimes)

    def entries(self, problem: str) -> dict[str, Entry]:
        """The regimes that run on a problem."""
        wanted = self.problems[problem].regimes
        return {name: entry for name, entry in self.regimes.items() if wanted is None or name in wanted}

    def _quick(self, table: Any, found: list[str]) -> Self:
        if not isinstance(table, Mapping):
            found.append("quick: there is no table [quick] with the problems, regimes and seeds of a short run")
            return self
        for kind in ("problems", "regimes"):
            found.extend(_unknown_names(f"quick.{kind}", table.get(kind, ()), getattr(self, kind)))
        match = table.get("match", MATCHES)
        found.extend(_match_problems("quick.match", match))
        if found:
            return self
        regimes = {name: self.regimes[name] for name in table.get("regimes", self.regimes)}
        regimes = {name: replace(e, match=[how for how in e.match if how in match]) for name, e in regimes.items()}
        # A problem's own list of regimes holds in a short run too, as far as the short run has them.
        problems = {name: self.problems[name] for name in table.get("problems", self.problems)}
        problems = {
            name: spec if spec.regimes is None else replace(spec, regimes=[r for r in spec.regimes if r in regimes])
            for name, spec in problems.items()
        }
        seeds = _as_tuple(table.get("seeds", self.seeds))
        return replace(self, name=f"{self.name}-quick", problems=problems, regimes=regimes, seeds=seeds)


Made = TypeVar("Made")


def _members(kind: type[Made], table: Any, where: str, found: list[str]) -> dict[str, Made]:
    if not isinstance(table, Mapping):
        return {}
    members = {}
    for name, content in table.items():
        if not NAME.fullmatch(name):
            found.append(f"{where}.{name}: names are lower-case words and numbers joined by hyphens; they name files")
        made = _made(kind, content, f"{where}.{name}.", found)
        if made is not None:
            members[name] = made
    return members


def _made(kind: type[Made], content: Any, where: str, found: list[str]) -> Made | None:
    """The object, or None and why there is none."""
    if not isinstance(content, Mapping):
        found.append(f"{where.rstrip('.')}: give a table")
        return None
    known: dict[str, Field[Any]] = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    wrong = [f"{where}{key}: there is no such field. {closest(key, known)}" for key in content if key not in known]
    required = (f.name for f in known.values() if f.default is MISSING and f.default_factory is MISSING)
    wrong += [f"{where}{name} is missing" for name in required if name not in content]
    found.extend(wrong)
    return None if wrong else kind(**content)


def _complaint(what: str, ask: Any) -> Iterator[str]:
    try:
        ask()
    except OfframpError as error:
        yield f"{what}: {error}"


def _match_problems(where: str, match: Any) -> Iterator[str]:
    if not isinstance(match, list | tuple) or not match or not set(match) <= set(MATCHES):
        yield f"{where} = {match!r}: give a list of at least one of {', '.join(map(repr, MATCHES))}"


def _unknown_names(where: str, names: Any, known: Mapping[str, Any]) -> Iterator[str]:
    for name in names:
        if name not in known:
            yield f"{where}: there is no '{name}'. {closest(str(name), known)}"


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)
