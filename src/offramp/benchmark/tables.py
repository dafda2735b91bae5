"""Tables of a benchmark, as Markdown, from the results of its runs alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from offramp.benchmark import comparing
from offramp.benchmark.comparing import Board, Interval, Measure
from offramp.benchmark.results import MATCHES
from offramp.benchmark.scoring import COLUMNS

REFERENCE = "joint"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows))


def columns(criterion: str) -> dict[str, Measure]:
    """The paper's columns, as shares in [0, 1]."""
    budgets = {f"{100 * share:.0f} %": comparing.within(share, criterion) for share in COLUMNS}
    rest = {"max": comparing.within(None, criterion), "final exit": comparing.final_exit}
    return {**budgets, **rest, "area": comparing.area(criterion)}


def levels(board: Board, problem: str, criterion: str) -> str:
    """Accuracy in per cent, mean over seeds +- half of the interval, and the time of training."""
    measures = columns(criterion)
    rows = [
        [
            regime,
            *(level(board.level(problem, regime, measure), 100) for measure in measures.values()),
            level(board.level(problem, regime, comparing.seconds), 1),
            level(board.ratio(problem, regime, REFERENCE, comparing.seconds), 1, digits=2),
            level(board.level(problem, regime, comparing.compute_spent), 1, digits=3),
        ]
        for regime in board.regimes(problem)
    ]
    for baseline in board.baselines(problem):
        accuracy = board.level(problem, baseline, lambda run: run.figures["baseline_accuracy"])
        rows.append([f"{baseline} (no exits)", *[""] * 4, level(accuracy, 100), "", "", "", "", ""])
    return table(["regime", *measures, "seconds", f"seconds / {REFERENCE}'s", "MACs / budget"], rows)


def differences(board: Board, problem: str, criterion: str, other: str = REFERENCE) -> str:
    """Points more than another regime, paired by seed; "no difference" where the interval holds zero."""
    measures = columns(criterion)
    rows = [
        [regime, *(difference(board.difference(problem, regime, other, measure)) for measure in measures.values())]
        for regime in board.regimes(problem)
        if regime != other
    ]
    return table([f"minus {other}", *measures], rows)


def level(found: Interval | None, scale: float, digits: int = 1) -> str:
    """`74.2 ± 0.6`; only the mean where one seed ran."""
    if found is None:
        return "-"
    spread = f" ± {scale * (found.high - found.mean):.{digits}f}" if found.seeds > 1 else ""
    return f"{scale * found.mean:.{digits}f}{spread}"


def difference(found: Interval | None) -> str:
    """`+1.9 [+1.2, +2.6]` in points, and what keeps it from being said."""
    if found is None:
        return "-"
    return points(found) if found.resolved or found.seeds < 2 else f"{points(found)} {found.verdict}"


def points(found: Interval) -> str:
    """`+1.9 [+1.2, +2.6]`; the mean alone for one seed."""
    if found.seeds < 2:
        return f"{100 * found.mean:+.1f} (1 seed)"
    return f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def document(board: Board, criteria: Sequence[str]) -> str:
    """All tables of a suite, one section per problem."""
    boards = {match: board.matched_by(match) for match in MATCHES}
    parts = [PREAMBLE]
    for problem in dict.fromkeys(name for one in boards.values() for name in one.problems):
        there = {match: one for match, one in boards.items() if problem in one.problems}
        parts += [f"## {problem}\n", f"{_setting(next(iter(there.values())), problem)}\n"]
        for match, one in there.items():
            parts += _section(one, problem, match, criteria)
    return "\n".join(parts)


def _section(board: Board, problem: str, match: str, criteria: Sequence[str]) -> list[str]:
    parts = []
    for criterion in criteria:
        parts += [f"### {criterion}, equal {match}\n", levels(board, problem, criterion) + "\n"]
        parts += [differences(board, problem, criterion) + "\n"]
    return parts


PREAMBLE = """# Training regimes at equal compute, and for equal time

Test accuracy in per cent within 25, 50, 75 and 100 % of the backbone's MACs, without limit ("max"), and of the final
exit; "area" is the mean accuracy over budgets from 25 to 100 %. Thresholds were chosen on calibration samples; test
samples were used once per run. Levels are means over seeds ± half of their 95 % interval; differences are paired by
seed, in points, with 95 % intervals (Student's t), which are not corrected for their number. "MACs / budget" is what
training spent of what it might spend at equal compute, forward and backward. For equal time, training was scaled by
what a step takes beside one of joint training, measured beforehand; "seconds / joint's" is what came of it, by seed.
The early exits of "backbone-long" never learned: it is the control for the final exit.
"""


def _setting(board: Board, problem: str) -> str:
    regimes = board.regimes(problem)
    if not regimes:
        return "Baselines only."
    runs = board.runs(problem, regimes[0])
    run = next(iter(runs.values()))
    spec = run.config["problem"]
    exits = ", ".join(f"{100 * share:.0f}" for share in run.figures["macs"])
    figures = run.figures
    return (
        f"{spec['network']} on {spec['data']}: {spec['train']:,} training, {spec['calibration']:,} calibration and "
        f"{figures['test_samples']:,} test samples, seeds {_listed(runs)}; backbone "
        f"{figures['backbone_macs']:,.0f} MACs, exits at {exits} % of them, heads included."
    )


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))
