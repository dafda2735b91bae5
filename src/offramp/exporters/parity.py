"""Compares what was written with the eager runtime, on random inputs and on the hardest: those at the thresholds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from offramp.backbones import close
from offramp.decisions import Decisions
from offramp.errors import ExportError
from offramp.exporters.artefact import Artefact, Decide, with_thresholds
from offramp.exporters.report import Parity
from offramp.exporters.rows import Leaves
from offramp.exporters.subject import Subject
from offramp.segments import Plan

SINGLES, FEW = 1, 7
"""Sizes of the first two batches into which rows are split; the third holds the rest."""
TOLERANCE, HALF_TOLERANCE = 1e-4, 3e-2
"""How near its threshold a score may be for rounding to decide, by the precision of the logits."""


def check_parity(subject: Subject, artefact: Artefact, batches: dict[str, Leaves]) -> list[Parity]:
    """Runs an artefact and the eager runtime on the same rows.

    The artefact takes them in batches of 1, of 7, and of the rest, and also under thresholds that were laid between
    and onto the scores of the first batch's rows.

    Args:
        subject: what was exported.
        artefact: what came of it.
        batches: rows by what they are.

    Raises:
        ExportError: a row whose score is not near its threshold leaves elsewhere, or logits differ.
    """
    comparison = _Comparison(subject, artefact)
    found = [
        comparison.run(what, leaves, subject.plan, subject.eager(), artefact.under(subject.plan))
        for what, leaves in batches.items()
    ]
    first = next(iter(batches.values()))
    scores = subject.scores(subject.pack(first))
    for what, plan in hostile_plans(subject.plan, scores).items():
        found.append(comparison.run(what, first, plan, subject.staged(plan), artefact.under(plan)))
    return found


def hostile_plans(plan: Plan, scores: Sequence[Tensor]) -> dict[str, Plan]:
    """Plans whose thresholds lie between two neighbouring scores, and exactly on a score.

    Args:
        plan: exits that it closes, or leaves to everybody, stay so.
        scores: `[n]` of every stop but the last.
    """
    if not any(map(math.isfinite, plan.thresholds)):
        return {}
    between, onto = [], []
    for threshold, values in zip(plan.thresholds, scores, strict=True):
        usable = math.isfinite(threshold) and bool(values.isfinite().any())
        between.append(_between(values, threshold) if usable else threshold)
        onto.append(float(values[values.isfinite()].median()) if usable else threshold)
    return {
        "thresholds between scores": with_thresholds(plan, between),
        "thresholds on scores": with_thresholds(plan, onto),
    }


def _between(values: Tensor, threshold: float) -> float:
    """The middle of the narrowest gap between neighbouring scores that rounding cannot bridge."""
    ordered = values[values.isfinite()].double().sort().values
    gaps = ordered.diff()
    gaps[gaps <= 2 * _tolerance(values)] = math.inf
    if len(gaps) == 0 or not bool(gaps.isfinite().any()):
        return threshold
    narrowest = int(gaps.argmin())
    return float(ordered[narrowest : narrowest + 2].mean())


def _tolerance(values: Tensor) -> float:
    return TOLERANCE if values.dtype.itemsize >= 4 else HALF_TOLERANCE


class _Comparison:
    def __init__(self, subject: Subject, artefact: Artefact) -> None:
        self.subject = subject
        self.artefact = artefact.name

    def run(self, what: str, leaves: Leaves, plan: Plan, reference: Decide, written: Decide) -> Parity:
        expected = reference(self.subject.pack(leaves))
        found = self._in_batches(written, leaves, len(expected))
        differing = (expected.exits != found.exits).nonzero().flatten()
        tolerance = _tolerance(expected.logits)
        near = self._near(leaves, plan, expected, found, differing, tolerance)
        if int(near.sum()) < len(differing):
            raise ExportError(self._other_exits(what, expected, found, differing[~near]))
        same = expected.exits == found.exits
        if bool(same.any()) and not close(found.logits[same].to(expected.logits.dtype), expected.logits[same]):
            raise ExportError(
                f"The export was refused: on {what}, the logits of the {self.artefact} differ from those of the eager "
                f"runtime by up to {_difference(found, expected, same):.2g}. An operation of the model converts "
                "wrongly: try another format, or deploy without exporting."
            )
        return Parity(
            self.artefact,
            what,
            len(expected),
            int(same.sum()),
            len(differing),
            _difference(found, expected, same),
            tolerance,
        )

    def _in_batches(self, written: Decide, leaves: Leaves, rows: int) -> Decisions:
        signature = self.subject.entrance.signature
        bounds = [0, *(b for b in (SINGLES, SINGLES + FEW) if b < rows), rows]
        parts = [
            written(self.subject.pack(signature.take(leaves, torch.arange(a, b))))
            for a, b in itertools.pairwise(bounds)
        ]
        logits = torch.cat([part.logits for part in parts]).to(self.subject.entrance.device)
        exits = torch.cat([part.exits for part in parts]).to(logits.device)
        return Decisions(logits, exits, self.subject.plan.exits)

    def _near(
        self,
        leaves: Leaves,
        plan: Plan,
        expected: Decisions,
        found: Decisions,
        rows: Tensor,
        tolerance: float,
    ) -> Tensor:
        """Mask over `rows`: whether the score lies near the threshold where the two part."""
        if len(rows) == 0:
            return torch.zeros(0, dtype=torch.bool, device=rows.device)
        scores = self.subject.scores(self.subject.pack(leaves))
        parting = torch.minimum(expected.exits, found.exits)[rows].tolist()
        return torch.tensor(
            [
                abs(float(scores[plan.stops.index(exit)][row]) - plan.thresholds[plan.stops.index(exit)]) <= tolerance
                for row, exit in zip(rows.tolist(), parting, strict=True)
            ],
            device=rows.device,
        )

    def _other_exits(self, what: str, expected: Decisions, found: Decisions, wrong: Tensor) -> str:
        row = int(wrong[0])
        return (
            f"The export was refused: on {what}, {len(wrong)} of {len(expected)} rows leave the {self.artefact} "
            f"elsewhere than the eager runtime, and not because their scores lie at a threshold (row {row}: exit "
            f"{int(found.exits[row])} instead of {int(expected.exits[row])}). An operation of the model converts "
            "wrongly, or depends on which rows are in the batch: try another format, or deploy without exporting."
        )


def _difference(found: Decisions, expected: Decisions, same: Tensor) -> float:
    if not bool(same.any()):
        return math.nan
    return float((found.logits[same].double() - expected.logits[same].double()).abs().max())
