"""Models whose rows spread over the exits, and their exports, made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

import offramp as ofr
from offramp.exporters import ExportReport, export


@dataclass(frozen=True, eq=False)
class Case:
    """A model under a policy by which about half of the rows leave at every exit."""

    model: ofr.ExitModel
    policy: ofr.Policy
    batch: Callable[..., Any]

    def decide(self, inputs: Any) -> ofr.Decisions:
        return ofr.deploy(self.model, self.policy)(inputs)


@pytest.fixture(scope="session")
def halving() -> Callable[..., Case]:
    """Makes a case of a tiny network."""

    def make(tiny: Any, criterion: Any = None, temperatures: Any = None) -> Case:
        model = tiny.attach()
        closed = ofr.Policy(criterion or ofr.criteria.Margin(), [float("inf")] * (model.exits - 1), temperatures)
        with torch.no_grad():
            logits = model(tiny.batch(64, seed=1))
        middles = [float(closed.score(k, logits[k], logits[:k]).median()) for k in range(model.exits - 1)]
        policy = ofr.Policy(closed.criterion, [m + 1e-3 for m in middles], temperatures)
        return Case(model, policy, tiny.batch)

    return make


@pytest.fixture(scope="session")
def case(tiny_resnet: Any, halving: Callable[..., Case]) -> Case:
    """The network with residuals, norms and in-place operations. Shared: do not change it."""
    return halving(tiny_resnet)


@dataclass(frozen=True)
class Written:
    folder: Path
    report: ExportReport


@pytest.fixture(scope="session")
def written(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Written]:
    """Exports of the case, by format and options. Shared: copy them before changing anything."""

    @cache
    def make(format: str, segments: str | None = None) -> Written:
        folder = tmp_path_factory.mktemp("exports") / f"{format}-{segments}"
        names = ["cat", "dog", "owl", "elk"]
        return Written(folder, export(case.model, case.policy, folder, format, class_names=names, segments=segments))

    return make
