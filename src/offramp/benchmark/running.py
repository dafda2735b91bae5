"""One run: train, choose thresholds on calibration samples, judge on test samples."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch

from offramp.benchmark import networks, sources
from offramp.benchmark.baselines import BASELINES
from offramp.benchmark.compute import Length, Matcher
from offramp.benchmark.pacing import Pace, measured
from offramp.benchmark.results import RunKey
from offramp.benchmark.scoring import BUDGETS, DIGITS, area, choose, frontier_columns, judged
from offramp.benchmark.suite import LEARNED, Entry, ProblemSpec, Suite
from offramp.criteria import CRITERIA, Criterion, ready_made
from offramp.errors import BenchmarkError
from offramp.exit_model import ExitModel, attach
from offramp.recording import Recording, record
from offramp.training import History, fit

_NOT_DECIDING = ("regimes", "baseline", "match")


YARDSTICK = Entry(regime="joint")
"""What others are measured by: joint training of the problem's own heads, whatever a regime puts in their place."""


class Problem:
    """A problem while its runs are done: counts each regime once, and keeps the samples of one seed.

    Args:
        spec: of the problem.
        device: where it trains.
    """

    def __init__(self, spec: ProblemSpec, device: torch.device) -> None:
        self.spec, self.device = spec, device
        self._seed = -1
        self._parts: sources.Parts | None = None
        self._matcher: Matcher | None = None
        self._lengths: dict[str, Length] = {}

    def parts(self, seed: int) -> sources.Parts:
        """The samples of a seed."""
        if self._parts is None or self._seed != seed:
            self._parts, self._seed = sources.parts(self.spec, seed), seed
        return self._parts

    def model(self, entry: Entry, seed: int) -> ExitModel:
        """A network with exits, its weights drawn from the seed; the same for every regime but for its heads."""
        spec, parts = self.spec, self.parts(seed)
        made = networks.backbone(spec.network, spec.network_options, parts.shape, seed)
        return attach(made, spec.at, parts.train.inputs[:1], head=entry.head or spec.head, seed=seed)

    def length(self, entry: Entry, seed: int, pace: Pace | None = None) -> Length:
        """How long a regime trains; counted at the first seed that asks.

        Args:
            entry: the regime.
            seed: of samples and weights on which to count.
            pace: to match time; None to match compute.
        """
        known = repr((entry, pace))
        if known not in self._lengths:
            matcher = self._matching(seed)
            self._lengths[known] = matcher.length(entry.make(), entry.compute, self.model(entry, seed), pace)
        return self._lengths[known]

    def pace(self, entry: Entry, seed: int) -> Pace:
        """Times the regime's steps."""
        spec, train = self.spec, self.parts(seed).train
        found = measured(
            (entry.make(), self.model(entry, seed)),
            self.model(YARDSTICK, seed),
            lambda steps: train.training(spec.batch_size, steps),
            self.fit_options(),
        )
        itself = entry.make() == YARDSTICK.make() and entry.head in (None, spec.head)
        return replace(found, phases=dict.fromkeys(found.phases, 1.0)) if itself else found

    def _matching(self, seed: int) -> Matcher:
        if self._matcher is None:
            spec, train = self.spec, self.parts(seed).train
            yardstick = self.model(YARDSTICK, seed)
            batch = (train.inputs[: spec.batch_size], train.labels[: spec.batch_size])
            self._matcher = Matcher(
                yardstick,
                batch,
                self.fit_options(),
                samples=len(train),
                batch_size=spec.batch_size,
                epochs=spec.epochs,
            )
        return self._matcher

    def fit_options(self) -> dict[str, Any]:
        """What `fit` is given besides data, regime and length."""
        return {**self.spec.fit, "device": self.device}


def config(suite: Suite, problem: ProblemSpec, entry: Entry | None, seed: int) -> dict[str, Any]:
    """All that decides a run, as plain data; what is at its default is left out, so that new fields change nothing."""
    chosen = {"problem": _given(problem), "seed": seed}
    return chosen if entry is None else {**chosen, "regime": _given(entry), "criteria": list(suite.criteria)}


def pace_config(problem: ProblemSpec, entry: Entry) -> dict[str, Any]:
    """All that decides a pace, as plain data."""
    return {"problem": _given(problem), "regime": {"regime": entry.regime, "head": entry.head}}


def _given(value: Any) -> dict[str, Any]:
    defaults = {f.name: f.default_factory() if callable(f.default_factory) else f.default for f in fields(value)}
    return {k: v for k, v in asdict(value).items() if k not in _NOT_DECIDING and v != defaults[k]}


def run(
    problem: Problem, entry: Entry, key: RunKey, length: Length, criteria: tuple[str, ...], checkpoints: Path | None
) -> dict[str, Any]:
    """Trains and judges one regime.

    Args:
        problem: the network and its samples.
        entry: the regime.
        key: which run.
        length: of training.
        criteria: that decide who leaves.
        checkpoints: folder from which an interrupted run goes on, and which is removed in the end; None for none.

    Returns:
        Figures as plain data: `training`, `macs`, `exit_accuracy`, `frontier` and `area` by criterion, `seconds`.
    """
    model = problem.model(entry, key.seed)
    parts = problem.parts(key.seed)
    began = time.perf_counter()
    history = fit(
        model,
        parts.train.training(problem.spec.batch_size, length.steps),
        regime=entry.make(),
        epochs=length.epochs,
        seed=key.seed,
        out=checkpoints,
        resume=checkpoints is not None,
        progress=False,
        **problem.fit_options(),
    )
    trained = time.perf_counter()
    figures = judge(model, parts, {name: _criterion(name, entry, history) for name in criteria})
    if checkpoints is not None:
        shutil.rmtree(checkpoints, ignore_errors=True)
    spent = {"training": round(history.seconds, 3), "judging": round(time.perf_counter() - trained, 3)}
    phases = list(dict.fromkeys(row.phase for row in history.rows))
    training = {**length.to_dict(), "phases": {p: sum(row.phase == p for row in history.rows) for p in phases}}
    return {"training": training, **figures, "seconds": {**spent, "total": round(time.perf_counter() - began, 3)}}


def _criterion(name: str, entry: Entry, history: History) -> Criterion:
    """What stands for one of the suite's criteria under a regime."""
    named = entry.criteria.get(name, name)
    if named != LEARNED:
        return CRITERIA[named]()
    if history.criterion is None:
        raise BenchmarkError(
            f"criteria.{name} = {LEARNED!r}: {type(entry.make()).__name__} teaches no criterion; name one of "
            f"{', '.join(ready_made())}, or leave it out."
        )
    return history.criterion


def judge(model: ExitModel, parts: sources.Parts, criteria: Mapping[str, Criterion]) -> dict[str, Any]:
    """Thresholds from the calibration samples, then, once, the test samples."""
    calibration = record(model, parts.calibration.evaluation(), {"split": "calibration"})
    budgets = [*BUDGETS, None]
    choices = {name: choose(calibration, criterion, budgets) for name, criterion in criteria.items()}
    test = record(model, parts.test.evaluation(), {"split": "test"})
    frontiers = {name: frontier_columns(chosen, judged(chosen, test)) for name, chosen in choices.items()}
    return {
        "macs": [round(cost / test.plain_macs, DIGITS) for cost in test.macs],
        "backbone_macs": test.plain_macs,
        "test_samples": test.samples,
        "exit_accuracy": {"calibration": exit_accuracy(calibration), "test": exit_accuracy(test)},
        "budgets": list(BUDGETS),
        "frontier": frontiers,
        "area": {name: area(columns["test_accuracy"][:-1]) for name, columns in frontiers.items()},
    }


def exit_accuracy(recording: Recording) -> list[float]:
    """Accuracy of each exit on all samples, earliest first."""
    return [round(float(share), DIGITS) for share in recording.correct.double().mean(dim=1)]


def run_baseline(problem: Problem, key: RunKey) -> dict[str, Any]:
    """Test accuracy of a baseline without exits on the same samples."""
    parts = problem.parts(key.seed)
    began = time.perf_counter()
    accuracy = BASELINES[key.regime](parts)
    return {
        "baseline_accuracy": round(accuracy, DIGITS),
        "test_samples": len(parts.test),
        "seconds": {"total": round(time.perf_counter() - began, 3)},
    }
