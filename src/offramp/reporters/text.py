"""The results as tables in a terminal, 80 columns wide."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

from offramp.reporters import wording
from offramp.reporters.results import Results
from offramp.reporters.results.levels import Levels


def render(results: Results) -> RenderableType:
    """Everything that fits a terminal; the figures and the gallery are in the HTML report."""
    parts: list[RenderableType] = []
    if results.subject.notice:
        parts.append(f"[bold yellow]{escape(results.subject.notice)}[/]\n")
    parts += [_summary(results), _exits(results), *_sentences(results)]
    return Group(*parts)


def show(results: Results, console: Console) -> None:
    """Prints the results."""
    console.print(render(results), highlight=False)


def _summary(results: Results) -> Table:
    headline = results.headline
    table = _table(f"{results.subject.model} on {results.subject.data}", headline.source.describe())
    table.add_column("")
    table.add_column("plain", justify="right")
    table.add_column("with exits", justify="right")
    table.add_column("difference", justify="right")
    table.add_row(
        "accuracy",
        wording.percent(headline.plain_accuracy),
        wording.percent(headline.accuracy),
        f"{wording.points(-headline.drop)} points",
    )
    table.add_row(
        "MACs per sample",
        wording.compact(headline.plain_macs),
        wording.compact(headline.mean_macs),
        f"{wording.percent(headline.macs_share, 1)} of plain",
    )
    for speed in results.speed:
        table.add_row(
            f"time, {speed.calls}",
            wording.milliseconds(speed.plain.median),
            wording.milliseconds(speed.exits.median),
            wording.faster(speed),
        )
    return table


def _exits(results: Results) -> Table:
    table = _table("Exits", f"{results.exits.source.describe()}; alone = every sample leaves there")
    for name in ("exit", "behind"):
        table.add_column(name, overflow="fold")
    for name in ("MACs\nalone", "accuracy\nalone", "leave\nhere", "accuracy\nof these", "threshold"):
        table.add_column(name, justify="right")
    for row in results.exits.rows:
        table.add_row(
            str(row.exit),
            escape(row.place),
            wording.percent(row.macs_share, 1),
            wording.percent(row.accuracy),
            wording.percent(row.share, 1),
            wording.percent(row.accuracy_left),
            wording.threshold(row.threshold),
        )
    return table


def _sentences(results: Results) -> list[str]:
    sentences = [wording.static_verdict(results)]
    if results.certificate is not None:
        sentences.append(results.certificate.statement())
        if results.certificate.assumption:
            sentences.append(f"This assumes: {results.certificate.assumption}.")
        if results.certificate.caution:
            sentences.append(results.certificate.caution)
    if results.levels is not None:
        sentences.append(_answered(results.levels))
    if results.final_exit is not None:
        sentences.append(wording.final_exit(results.final_exit))
    if results.agreement is not None:
        sentences.append(wording.agreement(results.agreement))
    if results.provenance.looks > 1:
        sentences.append(f"The test split was evaluated {results.provenance.looks} times in this run.")
    return [escape(sentence) for sentence in sentences]


def _answered(levels: Levels) -> str:
    shares = ", ".join(
        f"{wording.answered_with(row.level)} {wording.percent(row.share, 1)} ({wording.percent(row.accuracy)} right)"
        for row in levels.rows
    )
    return f"Answered with: {shares}."


def _table(title: str, caption: str) -> Table:
    # Left-aligned titles, because tables of different widths below each other look ragged with centred ones.
    return Table(
        title=escape(title),
        caption=escape(caption),
        title_justify="left",
        caption_justify="left",
        title_style="bold",
        caption_style="dim",
    )
