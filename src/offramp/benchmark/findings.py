"""What the runs say about the questions asked of them, each answer with its evidence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from offramp.benchmark import comparing
from offramp.benchmark.comparing import CONFIDENCE, Board, Interval, Measure

PAPER = ("disjoint", "joint", "mixed")
LONG = "-long"
UNEQUAL = "mixed-long - joint,"
"""How a comparison begins in which mixed has twice the compute."""


@dataclass(frozen=True)
class Comparison:
    """One paired comparison on one problem.

    Attributes:
        problem: name.
        what: what is compared, e.g. "disjoint - joint within 25 %".
        found: the difference.
    """

    problem: str
    what: str
    found: Interval


def low_budgets(board: Board, criterion: str) -> list[Comparison]:
    """Is disjoint worse than joint within 25 % and 50 % of the MACs?"""
    pairs = [("disjoint", "joint", share) for share in (0.25, 0.5)]
    return list(_compared(board, pairs, criterion))


def full_budget(board: Board, criterion: str) -> list[Comparison]:
    """Is mixed at least as good as joint within 100 %: at equal compute, short and long, and as the paper trains it?"""
    pairs = [("mixed", "joint", 1.0), ("mixed-long", "joint-long", 1.0), ("mixed-long", "joint", 1.0)]
    return list(_compared(board, pairs, criterion))


def in_time(board: Board, criterion: str) -> list[tuple[Comparison, Comparison]]:
    """The paper's comparisons at equal compute and, of the same problems, for equal time."""
    pairs = [("disjoint", "joint", 0.25), ("disjoint", "joint", 0.5), ("mixed", "joint", 1.0)]
    compute, time = (list(_compared(board.matched_by(match), pairs, criterion)) for match in ("compute", "time"))
    timed = {(one.problem, one.what): one for one in time}
    return [(one, timed[one.problem, one.what]) for one in compute if (one.problem, one.what) in timed]


def _compared(board: Board, pairs: Sequence[tuple[str, str, float]], criterion: str) -> Iterator[Comparison]:
    for problem in board.problems:
        for ours, theirs, share in pairs:
            found = board.difference(problem, ours, theirs, comparing.within(share, criterion))
            if found is not None:
                yield Comparison(problem, f"{ours} - {theirs}, {100 * share:.0f} %", found)


@dataclass(frozen=True)
class Lead:
    """Mixed's lead over joint when mixed trains twice as long, and what is left of it when joint does too.

    Attributes:
        problem: name.
        unequal: mixed-long minus joint.
        equal: mixed-long minus joint-long.
    """

    problem: str
    unequal: Interval
    equal: Interval

    @property
    def survives(self) -> float | None:
        """Share of the lead that is left; None where there was no lead to begin with."""
        return self.equal.mean / self.unequal.mean if self.unequal.resolved and self.unequal.mean > 0 else None


def leads(board: Board, measure: Measure) -> list[Lead]:
    """How much of mixed's lead survives compute matching?"""
    found = []
    for problem in board.problems:
        unequal = board.difference(problem, "mixed-long", "joint", measure)
        equal = board.difference(problem, "mixed-long", "joint-long", measure)
        if unequal is not None and equal is not None:
            found.append(Lead(problem, unequal, equal))
    return found


@dataclass(frozen=True)
class Candidate:
    """A regime against the paper's three, by area under the frontier at equal compute.

    Attributes:
        regime: name.
        margins: by problem, the difference to whichever of the three comes closest.
        corrected: the same, with intervals that hold for all candidates at once (Bonferroni).
    """

    regime: str
    margins: dict[str, Interval]
    corrected: dict[str, Interval]

    def wins(self, problems: Sequence[str], corrected: bool = False) -> bool:
        """Whether it beats all three on each of these problems, by intervals that leave zero out."""
        margins = self.corrected if corrected else self.margins
        return bool(problems) and all(
            name in margins and margins[name].resolved and margins[name].mean > 0 for name in problems
        )


def candidates(board: Board, criterion: str) -> list[Candidate]:
    """Every regime beyond the paper's three that may spend as much as they.

    Best first, by the lower end of the worst margin.
    """
    names = dict.fromkeys(name for problem in board.problems for name in board.regimes(problem))
    tried = [name for name in names if name not in PAPER and not name.endswith(LONG)]
    sharper = 1 - (1 - CONFIDENCE) / max(len(tried) * len(PAPER), 1)
    made = [
        Candidate(name, _margins(board, name, criterion, CONFIDENCE), _margins(board, name, criterion, sharper))
        for name in tried
    ]
    return sorted(made, key=lambda c: -min((m.low for m in c.margins.values()), default=-math.inf))


def _margins(board: Board, regime: str, criterion: str, confidence: float) -> dict[str, Interval]:
    margins = {}
    for problem in board.problems:
        found = [board.difference(problem, regime, other, comparing.area(criterion), confidence) for other in PAPER]
        present = [interval for interval in found if interval is not None]
        if len(present) == len(PAPER):
            margins[problem] = min(present, key=lambda interval: interval.low)
    return margins
