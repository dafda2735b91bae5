"""The results as one self-contained HTML page: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from string import Template

from offramp.reporters import figures, wording
from offramp.reporters.markup import Markup, join, pairs, picture, section, table, tag, void
from offramp.reporters.results import Results, Speed
from offramp.reporters.results.exits import ExitFigures
from offramp.reporters.results.gallery import Picture, Shelf
from offramp.reporters.results.reliability import ExitReliability


def render(results: Results) -> str:
    """The page.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    template = Template(resources.files("offramp.reporters").joinpath("report.html.template").read_text("utf8"))
    title = f"{results.subject.model} on {results.subject.data}"
    return template.substitute(
        title=tag("title", f"{title} - offramp"),
        heading=tag("h1", title),
        lead=tag("p", _lead(results), class_="lead"),
        notice=tag("p", results.subject.notice, class_="notice", role="alert") if results.subject.notice else "",
        cards=_cards(results),
        sections=join(
            [
                _tradeoff(results),
                _exits(results),
                _levels(results),
                _certificate(results),
                _speed(results),
                _reliability(results),
                _gallery(results),
                _learning(results),
                _provenance(results),
            ]
        ),
    )


def write(results: Results, path: str | Path) -> None:
    """Writes the page, in one step.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    beside = Path(f"{path}.part")
    beside.write_text(render(results), encoding="utf8")
    beside.replace(path)


def _lead(results: Results) -> str:
    headline = results.headline
    accuracy = f"{wording.percent(headline.accuracy)} accuracy ({wording.points(-headline.drop)} points)"
    return (
        f"With exits, the network keeps {accuracy} and spends {wording.percent(headline.macs_share, 1)} of the plain "
        f"network's multiply-accumulates, heads included. {headline.source.describe().capitalize()}."
    )


# ---- the cards on top


def _cards(results: Results) -> Markup:
    headline = results.headline
    low, high = headline.interval
    cards = [
        _card(
            "Accuracy with exits",
            wording.percent(headline.accuracy),
            f"plain {wording.percent(headline.plain_accuracy)}; 95 % interval {100 * low:.2f} to {100 * high:.2f}",
        ),
        _card(
            "Mean MACs",
            wording.percent(headline.macs_share, 1),
            f"of the plain network, heads included: {wording.compact(headline.mean_macs)} of "
            f"{wording.compact(headline.plain_macs)} per sample",
        ),
    ]
    certificate = results.certificate
    if certificate is not None and certificate.delta is not None and certificate.points is not None:
        cards.append(
            _card(
                "Certified drop",
                wording.bound(certificate.points),
                f"with {100 * (1 - certificate.delta):g} % confidence; on the {headline.source.split} split it was "
                f"{100 * headline.drop:.2f}",
            )
        )
    cards += [_speed_card(speed) for speed in results.speed]
    return tag("div", *cards, class_="cards")


def _card(name: str, value: str, note: str) -> Markup:
    return tag(
        "div", tag("div", name, class_="name"), tag("div", value, class_="value"), tag("div", note, class_="note")
    )


def _speed_card(speed: Speed) -> Markup:
    times = f"{wording.milliseconds(speed.exits.median)} per sample, plain {wording.milliseconds(speed.plain.median)}"
    return _card(f"Speed, {speed.calls}", f"{1 / speed.ratio:.2f}x", f"measured: {times}, {speed.source.device}")


# ---- the sections


def _tradeoff(results: Results) -> Markup:
    parts = [f"Policy and single exits: {results.exits.source.describe()}."]
    if results.frontier is not None:
        parts.append(
            f"Frontier: best per-exit thresholds found on the {results.frontier.source.describe()}, and evaluated "
            "there, so it is optimistic."
        )
    return section(
        "Accuracy against MACs",
        tag("p", wording.static_verdict(results)),
        picture(figures.tradeoff(results), " ".join(parts)),
    )


def _exits(results: Results) -> Markup:
    rows = results.exits.rows
    headers = (
        "Exit",
        "Behind",
        "MACs alone",
        "Accuracy alone",
        "Leave here",
        "Samples",
        "Accuracy of these",
        "Threshold",
        "Temperature",
    )
    caption = (
        f"{results.exits.source.describe()}. Alone: every sample leaves there (the static baseline; MACs in % of the "
        "plain network, its own head included). n/a: nobody left there, or the exit has no such setting."
    )
    return section(
        "Exits",
        _shares_bar(rows),
        table(headers, [_exit_row(row) for row in rows], caption, words=2),
    )


def _levels(results: Results) -> Markup:
    if results.levels is None:
        return Markup("")
    headers = ("Answered with", "Possible answers", "Samples", "Share", "Right")
    rows = [
        (
            wording.answered_with(row.level),
            f"{row.groups}",
            f"{row.samples:,}",
            wording.percent(row.share, 1),
            wording.percent(row.accuracy),
        )
        for row in results.levels.rows
    ]
    caption = (
        f"{results.levels.source.describe()}. An early exit answers as finely as it is sure. Right: the sample belongs "
        "to what it is answered with. All other accuracies on this page are of the likeliest class."
    )
    return section("Answers by level", table(headers, rows, caption))


def _exit_row(row: ExitFigures) -> tuple[object, ...]:
    return (
        join([_dot(row.exit), f"{row.exit}"]),
        tag("code", row.place),
        wording.percent(row.macs_share, 1),
        wording.percent(row.accuracy),
        wording.percent(row.share, 1),
        f"{row.left:,}",
        wording.percent(row.accuracy_left),
        wording.threshold(row.threshold),
        wording.temperature(row.temperature),
    )


def _dot(exit: int) -> Markup:
    return tag("span", class_="dot", style=f"background:{figures.colour_of(exit)}")


def _shares_bar(rows: tuple[ExitFigures, ...]) -> Markup:
    parts = [
        tag(
            "div",
            f"{row.exit}: {100 * row.share:.0f} %" if row.share >= 0.15 else "",
            style=f"flex:{row.share:.5f} 0 0;background:{figures.colour_of(row.exit)}",
            title=f"exit {row.exit}: {wording.percent(row.share, 1)}",
        )
        for row in rows
        if row.left
    ]
    return tag("div", *parts, class_="bar", role="img", aria_label="Share of samples that leave at each exit")


def _certificate(results: Results) -> Markup:
    found = results.certificate
    if found is None:
        return section("Certificate", tag("p", "None: the policy did not come from a calibration."))
    rows = [
        ("Goal", found.goal),
        ("Method", found.method),
        ("Temperatures", found.temperatures_from),
        ("Accuracy", f"{wording.percent(found.accuracy)} (plain {wording.percent(found.plain_accuracy)})"),
        (
            "Only plain right / only exits right",
            f"{wording.count(found.worse)} / {wording.count(found.better)} samples",
        ),
        ("Mean MACs", f"{wording.percent(found.macs_share, 1)} of plain"),
    ]
    if found.delta is not None:
        rows += [
            ("delta", f"{found.delta:g}"),
            ("p-value", wording.NOT_APPLICABLE if found.p_value is None else f"{found.p_value:.3g}"),
            ("Thresholds tested / certified", f"{found.tested} / {found.certified}"),
        ]
    assumption = tag("p", tag("strong", "This assumes: "), f"{found.assumption}.") if found.assumption else ""
    caution = tag("p", tag("strong", found.caution)) if found.caution else ""
    return section(
        "Certificate" if found.delta is not None else "Calibration",
        tag("p", found.statement(), class_="statement"),
        assumption,
        caution,
        pairs(rows, f"{found.source.describe()}."),
    )


def _speed(results: Results) -> Markup:
    if not results.speed:
        return Markup("")
    rows = [
        (
            speed.calls,
            _spread(speed.plain.median, speed.plain.low, speed.plain.high),
            _spread(speed.exits.median, speed.exits.low, speed.exits.high),
            wording.faster(speed),
            f"{speed.source.samples:,}",
            " / ".join(f"{100 * share:.0f}" for share in speed.shares),
        )
        for speed in results.speed
    ]
    first = results.speed[0]
    headers = ("Calls", "Plain, ms per sample", "With exits, ms", "Speed", "Samples timed", "Of them leave, %")
    caption = (
        f"{first.source.split} split, seed {first.source.seed}, {first.source.device}. "
        f"Median (10 % to 90 % quantile) of {first.rounds} rounds, both networks in turns; the timed samples leave in "
        "the proportions of the whole split."
    )
    return section("Measured time", table(headers, rows, caption))


def _spread(median: float, low: float, high: float) -> str:
    return f"{1000 * median:.3g} ({1000 * low:.3g} to {1000 * high:.3g})"


def _reliability(results: Results) -> Markup:
    exits = results.reliability.exits
    caption = (
        f"{results.reliability.source.describe()}; each exit over all samples, 15 bins. On the dotted line confidence "
        "is accuracy. The larger a marker, the more samples are behind it; bins of fewer than "
        f"{figures.FEWEST} are not drawn, but count in the ECE. The last exit has no temperature."
    )
    grid = tag("div", *(picture(figures.reliability(exit), _ece_line(exit)) for exit in exits), class_="grid")
    return section("Reliability", grid, tag("p", caption, class_="caption"))


def _ece_line(exit: ExitReliability) -> Markup:
    after = wording.NOT_APPLICABLE if exit.after is None else wording.percent(exit.after.ece)
    text = f"exit {exit.exit}: ECE {wording.percent(exit.before.ece)} before, {after} after"
    return join([_dot(exit.exit), text])


def _gallery(results: Results) -> Markup:
    gallery = results.gallery
    if gallery is None:
        return Markup("")
    caption = (
        f"{gallery.source.describe()}. Of the samples that left at an exit, those it was surest and least sure of. "
        "Captions: what it is; where the exit was wrong, also what it took it for."
    )
    return section("Easy and hard images", *map(_shelf, gallery.shelves), tag("p", caption, class_="caption"))


def _shelf(shelf: Shelf) -> Markup:
    title = tag("h3", _dot(shelf.exit), f"Exit {shelf.exit}")
    if not shelf.easiest:
        return join([title, tag("p", f"{wording.NOT_APPLICABLE}: nobody left here.")])
    groups = [("surest", shelf.easiest), ("least sure", shelf.hardest)]
    columns = [
        tag("div", tag("div", name, class_="name"), tag("div", *map(_thumbnail, pictures), class_="thumbs"))
        for name, pictures in groups
        if pictures
    ]
    return join([title, tag("div", *columns, class_="shelf")])


def _thumbnail(shown: Picture) -> Markup:
    says = shown.label if shown.right else f"{shown.label}, taken for {shown.prediction}"
    image = void("img", alt=says, src=f"data:image/png;base64,{shown.png}")
    wrong = "" if shown.right else tag("span", f"→ {shown.prediction}", class_="wrong")
    tooltip = f"sample {shown.index}: {says}; score {shown.score:.3f}"
    return tag("figure", image, tag("figcaption", shown.label, wrong), title=tooltip)


def _learning(results: Results) -> Markup:
    run = results.learning
    if run is None:
        return Markup("")
    best = "" if run.best_epoch is None else f" The weights of epoch {run.best_epoch} were kept (dotted line)."
    caption = f"{run.source.describe()}. {len(run.accuracy)} epochs in {run.seconds:.0f} s.{best}"
    return section("Training", _guard(results), picture(figures.learning(run), caption))


def _guard(results: Results) -> Markup:
    """Loud where the final exit lost more than chance explains."""
    found = results.final_exit
    if found is None:
        return Markup("")
    loud = {"class_": "notice", "role": "alert"} if found.check.worse else {}
    said = (
        f"{wording.final_exit(found)} {found.source.describe().capitalize()}; {100 * found.check.level:g} % interval."
    )
    return tag("p", said, **loud)


def _provenance(results: Results) -> Markup:
    made = results.provenance
    splits = ", ".join(f"{name} {count:,}" for name, count in made.splits.items())
    looks = "once" if made.looks == 1 else f"{made.looks} times"
    rows: list[tuple[object, object]] = [
        ("Made", made.created),
        ("Seed", wording.NOT_APPLICABLE if made.seed is None else made.seed),
        ("Device", made.device),
        ("Samples", splits),
        ("Test split evaluated", looks),
        ("Versions", ", ".join(f"{name} {version}" for name, version in made.versions.items())),
        ("Commit", made.commit or wording.NOT_APPLICABLE),
        ("Agreement", wording.NOT_APPLICABLE if results.agreement is None else wording.agreement(results.agreement)),
        *((name, tag("code", value)) for name, value in made.settings.items()),
    ]
    return section("Provenance", pairs(rows, "What made these results."))
