"""Shows that what lies behind an exit does not run once everybody has left: counted, and by the clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from offramp.errors import ExportError
from offramp.exporters.artefact import Artefact, with_thresholds
from offramp.exporters.report import Passing, Skipping
from offramp.exporters.rows import Leaves
from offramp.exporters.subject import Subject
from offramp.latency import measure
from offramp.segments import Plan

ROWS = 8
ROUNDS = 7


@dataclass(frozen=True, eq=False)
class _Case:
    """Inputs whose rows all leave at one exit under a plan."""

    exit: int
    plan: Plan
    inputs: Any


def check_skipping(subject: Subject, artefact: Artefact, leaves: Leaves) -> Skipping:
    """Runs a row that leaves early and one that leaves last, each alone but repeated, and counts and times both.

    Where no such rows are among those given, the thresholds are set so that one leaves early, and last.

    Args:
        subject: what was exported.
        artefact: what came of it.
        leaves: rows to choose from.

    Raises:
        ExportError: segments ran behind the exit at which all rows left.
    """
    if not any(threshold < math.inf for threshold in subject.plan.thresholds):
        return Skipping(artefact.name, ROWS, reason="the policy lets no row leave early")
    how, cases = "inputs", _by_inputs(subject, leaves)
    if not cases:
        how, cases = "thresholds", _by_thresholds(subject, leaves)
    if not cases:
        return Skipping(artefact.name, ROWS, reason="no row could be made to leave early, as scores are not numbers")
    calls = {str(case.exit): partial(artefact.under(case.plan), case.inputs) for case in cases}
    times = measure(calls, ROUNDS, device=subject.entrance.device)
    first, last = (Passing(c.exit, _executed(artefact, c), times[str(c.exit)].median) for c in cases)
    return Skipping(artefact.name, ROWS, how, first, last)


def _by_inputs(subject: Subject, leaves: Leaves) -> Sequence[_Case]:
    """The two cases under the policy itself; none where all rows leave at the same exit."""
    exits = subject.eager()(subject.pack(leaves)).exits
    first, last = int(exits.min()), int(exits.max())
    if first == last:
        return ()
    return [_Case(exit, subject.plan, _repeated(subject, leaves, exits == exit)) for exit in (first, last)]


def _by_thresholds(subject: Subject, leaves: Leaves) -> Sequence[_Case]:
    """The two cases under thresholds below, and above, every score; none where scores are NaN."""
    plan = subject.plan
    open_stop = next(k for k, threshold in enumerate(plan.thresholds) if threshold < math.inf)
    loose = [-math.inf if k == open_stop else t for k, t in enumerate(plan.thresholds)]
    exits = subject.staged(with_thresholds(plan, loose))(subject.pack(leaves)).exits
    leaving = exits == plan.stops[open_stop]
    if not bool(leaving.any()):
        return ()
    inputs = _repeated(subject, leaves, leaving)
    strict = with_thresholds(plan, [math.inf] * len(plan.thresholds))
    return [
        _Case(plan.stops[open_stop], with_thresholds(plan, loose), inputs),
        _Case(plan.stops[-1], strict, inputs),
    ]


def _repeated(subject: Subject, leaves: Leaves, mask: Tensor) -> Any:
    """Inputs made of the first row of a mask `[n]`."""
    row = mask.nonzero().flatten()[:1].repeat(ROWS)
    return subject.pack(subject.entrance.signature.take(leaves, row))


def _executed(artefact: Artefact, case: _Case) -> tuple[int, ...]:
    ran = artefact.executed(case.plan, case.inputs)
    if max(ran) > case.exit:
        raise ExportError(
            f"The export was refused: all rows leave the {artefact.name} at exit {case.exit}, and yet the segment of "
            f"exit {max(ran)} runs. Please report this model."
        )
    return ran
