"""The findings as Markdown: a verdict in words, and the table it rests on. Empty where nothing was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from offramp.benchmark import comparing, findings
from offramp.benchmark.comparing import Board
from offramp.benchmark.findings import PAPER, Candidate, Comparison, Lead
from offramp.benchmark.tables import columns, difference, level, points, table
from offramp.data import newsgroups

CRITERION = "max_probability"
PAPERS_TABLE = {
    "ResNet-34 / CIFAR-100": (73.79, 74.17, 75.88),
    "MSDNet / CIFAR-100": (70.36, 75.86, 76.51),
    "ViT-T / CIFAR-100": (63.99, 66.49, 70.25),
    "ResNet-50 / TinyImageNet": (65.71, 65.01, 67.24),
    "ViT-T / ImageNet": (71.61, 68.39, 71.20),
    "ViT-S / ImageNet": (78.38, 76.44, 78.33),
    "BERT-B / 20-Newsgroups": (85.75, 84.3, 85.1),
}
"""Accuracy within 100 % of the backbone's MACs of disjoint, joint and mixed. Source: arXiv 2407.14320."""


def overview(board: Board) -> str:
    """The paper's columns for its three regimes and the controls, on every problem."""
    measures = {name: measure for name, measure in columns(CRITERION).items() if name != "max"}
    rows = []
    for problem in board.problems:
        for regime in board.regimes(problem):
            cells = [level(board.level(problem, regime, measure), 100) for measure in measures.values()]
            rows.append([problem, regime, *cells, level(board.level(problem, regime, comparing.seconds), 1)])
        for baseline in board.baselines(problem):
            accuracy = board.level(problem, baseline, lambda run: run.figures["baseline_accuracy"])
            rows.append([problem, f"{baseline} (no exits)", *[""] * 4, level(accuracy, 100), "", ""])
    return table(["problem", "regime", *measures, "seconds"], rows)


def beside_the_paper(board: Board) -> str:
    """Accuracy within 100 % of the MACs: the paper's figures, ours as the paper trains, and ours at equal compute."""
    rows = [
        [name, "paper", *(f"**{v:.2f}**" if v == max(values) else f"{v:.2f}" for v in values)]
        for name, values in PAPERS_TABLE.items()
    ]
    ways = {"here, mixed trained twice as long": (*PAPER[:2], f"{PAPER[2]}-long"), "here, equal compute": PAPER}
    rows += [
        [problem, way, *_best_in_bold(board, problem, regimes)]
        for way, regimes in ways.items()
        for problem in board.problems
    ]
    return table(["network / data", "from", *PAPER], rows)


def _best_in_bold(board: Board, problem: str, regimes: Sequence[str]) -> list[str]:
    found = [board.level(problem, regime, comparing.within(1.0, CRITERION)) for regime in regimes]
    best = max((f.mean for f in found if f is not None), default=None)
    return [f"**{level(f, 100)}**" if f is not None and f.mean == best else level(f, 100) for f in found]


def low_budgets(board: Board) -> str:
    """Whether disjoint is worse than joint at 25 and 50 %."""
    found = findings.low_budgets(board, CRITERION)
    claim = _count(found, "less", "Disjoint is worse than joint within 25 % and 50 % of the backbone's MACs")
    return _answer(found, [claim])


def full_budget(board: Board) -> str:
    """Whether mixed is better than joint at 100 %, at equal compute and with twice as much."""
    found = findings.full_budget(board, CRITERION)
    equal = [one for one in found if not one.what.startswith(findings.UNEQUAL)]
    unequal = [one for one in found if one.what.startswith(findings.UNEQUAL)]
    claims = [
        _count(equal, "more", "At equal compute, mixed is better than joint within 100 %"),
        _count(unequal, "more", "Trained twice as long, mixed is better than joint within 100 %"),
    ]
    return _answer(found, claims)


def compute(board: Board) -> str:
    """How much of mixed's lead survives when joint may train as long."""
    leads = findings.leads(board, comparing.within(1.0, CRITERION))
    rows = [
        [
            lead.problem,
            difference(lead.unequal),
            difference(lead.equal),
            _survival(lead),
        ]
        for lead in leads
    ]
    header = ["problem", "mixed (2 x) - joint (1 x)", "mixed (2 x) - joint (2 x)", "of the lead survives"]
    return table(header, rows) if rows else ""


def _survival(lead: Lead) -> str:
    if lead.survives is None:
        return "no lead to share"
    return f"{100 * lead.survives:.0f} %" + ("" if lead.equal.resolved else " (not told from 0)")


def time(board: Board) -> str:
    """Whether the order is another when all train as long by the clock instead of on as many MACs."""
    found = findings.in_time(board, CRITERION)
    if not found:
        return ""
    changed = [one for one, other in found if one.found.verdict != other.found.verdict]
    turned = [one for one, other in found if {one.found.verdict, other.found.verdict} == {"more", "less"}]
    claim = (
        f"Of {len(found)} comparisons, {len(found) - len(changed)} have the same verdict for equal time as at equal "
        f"compute, and {len(turned)} the opposite one."
    )
    rows = [
        [one.problem, one.what, *(f"{points(x.found)} {x.found.verdict}" for x in (one, other))] for one, other in found
    ]
    compared = table(["problem", "comparison", "at equal compute", "for equal time"], rows)
    return "\n\n".join([claim, compared, _clocks(board, list(dict.fromkeys(one.problem for one, _ in found)))])


def _clocks(board: Board, problems: Sequence[str]) -> str:
    """What either way of matching costs in the other's unit."""
    timed = board.matched_by("time")
    rows = []
    for problem in problems:
        for regime in timed.regimes(problem):
            pace = next(iter(timed.runs(problem, regime).values())).figures["pace"]["phases"]
            seconds = (one.ratio(problem, regime, "joint", comparing.seconds) for one in (board, timed))
            macs = timed.level(problem, regime, comparing.compute_spent)
            steps = ", ".join(f"{name} {ratio:.2f}" for name, ratio in pace.items())
            rows.append([problem, regime, steps, *(level(one, 1, digits=2) for one in (*seconds, macs))])
    header = ["problem", "regime", "a step / joint's", "seconds / joint's, equal compute", "the same, equal time"]
    return table([*header, "MACs / joint's, equal time"], rows)


def beyond(board: Board) -> str:
    """Which regimes beat the paper's three in the area under the frontier at equal compute."""
    found = findings.candidates(board, CRITERION)
    if not found:
        return ""
    groups = image_problems(board)
    rows = [
        [
            one.regime,
            *(difference(one.margins.get(problem)) for problem in board.problems),
            _won(one, groups),
            _won(one, groups, corrected=True),
        ]
        for one in found
    ]
    said = [f"`{one.regime}` (with {_won(one, groups)})" for one in found if _won(one, groups) != NOWHERE]
    verdict = (
        f"Beats disjoint, joint and mixed on both image sets: {', '.join(said)}."
        if said
        else f"None of the {len(found)} regimes tried beats disjoint, joint and mixed on both image sets."
    )
    header = ["regime", *board.problems, "beats all three on both sets with", "corrected for all tried"]
    return f"{verdict}\n\n{table(header, rows)}"


NOWHERE = "none"


def image_problems(board: Board) -> dict[str, list[str]]:
    """Names of the problems on images by the network's, where it ran on several data sets."""
    groups: dict[str, dict[str, str]] = {}
    for problem in board.problems:
        for regime in board.regimes(problem)[:1]:
            spec = next(iter(board.runs(problem, regime).values())).config["problem"]
            if spec["data"] != newsgroups.NAME:
                groups.setdefault(spec["network"], {})[spec["data"]] = problem
    return {network: list(sets.values()) for network, sets in groups.items() if len(sets) > 1}


def _won(one: Candidate, groups: Mapping[str, Sequence[str]], corrected: bool = False) -> str:
    """The networks with which it beats the three on every image set."""
    return ", ".join(name for name, problems in groups.items() if one.wins(problems, corrected)) or NOWHERE


def _count(found: Sequence[Comparison], expected: str, claim: str) -> str:
    """How often a claim holds, is refuted, or is not resolved."""
    verdicts = [one.found.verdict for one in found]
    holds, opposite = verdicts.count(expected), verdicts.count("more" if expected == "less" else "less")
    return (
        f"{claim}: so in {holds} of {len(found)} comparisons, the other way round in {opposite}, not resolved in "
        f"{len(found) - holds - opposite}."
    )


def _answer(found: Sequence[Comparison], claims: Sequence[str]) -> str:
    """What is claimed, and the comparisons; empty where there is none."""
    if not found:
        return ""
    rows = [[one.problem, one.what, points(one.found), one.found.verdict] for one in found]
    shown = table(["problem", "comparison", "points, 95 % interval", "verdict"], rows)
    return "\n\n".join([" ".join(claims), shown])


ANSWERS: dict[str, Callable[[Board], str]] = {
    "regimes_overview": overview,
    "regimes_paper": beside_the_paper,
    "regimes_low": low_budgets,
    "regimes_full": full_budget,
    "regimes_compute": compute,
    "regimes_time": time,
    "regimes_beyond": beyond,
}
