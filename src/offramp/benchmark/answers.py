"""The findings as Markdown: a verdict in words, and the table it rests on. Empty where nothing was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from offramp.benchmark import comparing, findings
from offramp.benchmark.comparing import Board
from offramp.benchmark.findings import PAPER, Candidate, Comparison
from offramp.benchmark.tables import columns, difference, level, table
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
    """Accuracy within 100 % of the MACs: the paper's figures, and ours at equal compute."""
    rows = [
        [name, "paper, unequal compute", *(f"**{v}**" if v == max(values) else f"{v}" for v in values)]
        for name, values in PAPERS_TABLE.items()
    ]
    for problem in board.problems:
        found = [board.level(problem, regime, comparing.within(1.0, CRITERION)) for regime in PAPER]
        best = max((f.mean for f in found if f is not None), default=None)
        cells = [f"**{level(f, 100)}**" if f is not None and f.mean == best else level(f, 100) for f in found]
        rows.append([problem, "here, equal compute", *cells])
    return table(["network / data", "from", *PAPER], rows)


def low_budgets(board: Board) -> str:
    """Whether disjoint is worse than joint at 25 and 50 %."""
    found = findings.low_budgets(board, CRITERION)
    return _answer(found, "less", "Disjoint is worse than joint within 25 % and 50 % of the backbone's MACs")


def full_budget(board: Board) -> str:
    """Whether mixed is at least as good as joint at 100 %."""
    found = findings.full_budget(board, CRITERION)
    return _answer(found, "more", "Mixed is better than joint within 100 %")


def compute(board: Board) -> str:
    """How much of mixed's lead survives when joint may train as long."""
    leads = findings.leads(board, comparing.within(1.0, CRITERION))
    rows = [
        [
            lead.problem,
            difference(lead.unequal),
            difference(lead.equal),
            "no lead to share" if lead.survives is None else f"{100 * lead.survives:.0f} %",
        ]
        for lead in leads
    ]
    header = ["problem", "mixed (2 x) - joint (1 x)", "mixed (2 x) - joint (2 x)", "of the lead survives"]
    return table(header, rows) if rows else ""


def beyond(board: Board) -> str:
    """Which regimes beat the paper's three in the area under the frontier at equal compute."""
    found = findings.candidates(board, CRITERION)
    if not found:
        return ""
    images = [name for name in board.problems if _shows_images(board, name)]
    header = ["regime", *board.problems, "beats all three on every image problem", "corrected for all tried"]
    rows = [_candidate(one, board.problems, images) for one in found]
    winners = [one.regime for one in found if one.wins(images)]
    said = (
        f"Beats disjoint, joint and mixed on every image problem: {', '.join(f'`{name}`' for name in winners)}."
        if winners
        else f"None of the {len(found)} regimes tried beats disjoint, joint and mixed on every image problem."
    )
    return f"{said}\n\n{table(header, rows)}"


def _candidate(one: Candidate, problems: Sequence[str], images: Sequence[str]) -> list[str]:
    cells = [difference(one.margins.get(problem)) for problem in problems]
    return [one.regime, *cells, _yes(one.wins(images)), _yes(one.wins(images, corrected=True))]


def _shows_images(board: Board, problem: str) -> bool:
    runs = board.runs(problem, board.regimes(problem)[0])
    return all(run.config["problem"]["data"] != newsgroups.NAME for run in runs.values())


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _answer(found: Sequence[Comparison], expected: str, claim: str) -> str:
    """How often the claim holds, is refuted, or is not resolved; and the comparisons."""
    if not found:
        return ""
    verdicts = [one.found.verdict for one in found]
    holds, opposite = verdicts.count(expected), verdicts.count("more" if expected == "less" else "less")
    said = (
        f"{claim}: so in {holds} of {len(found)} comparisons, the other way round in {opposite}, not resolved in "
        f"{len(found) - holds - opposite}."
    )
    rows = [[one.problem, one.what, difference(one.found), one.found.verdict] for one in found]
    return f"{said}\n\n{table(['problem', 'comparison', 'points, 95 % interval', 'verdict'], rows)}"


ANSWERS: dict[str, Callable[[Board], str]] = {
    "regimes_overview": overview,
    "regimes_paper": beside_the_paper,
    "regimes_low": low_budgets,
    "regimes_full": full_budget,
    "regimes_compute": compute,
    "regimes_beyond": beyond,
}
