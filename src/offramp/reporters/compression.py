"""The outcome of a compression as one self-contained HTML page, with the accuracy against the rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from offramp.reporters import wording
from offramp.reporters.markup import Markup, join, picture, section, table, tag
from offramp.reporters.svg import INK, drawing, inline

HOLDS, FAILS, PARTLY = "#4b9e5f", "#d9622b", "#858b94"

Result = Mapping[str, Any]
"""What `offramp compress` delivers: `Outcome.to_dict()` with `subject`, and with `size` and `test` where measured."""


def render(result: Result) -> str:
    """The page.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    template = Template(resources.files("offramp.reporters").joinpath("report.html.template").read_text("utf8"))
    title = f"Compression of {result.get('subject', 'a model')}"
    return template.substitute(
        title=tag("title", f"{title} - offramp"),
        heading=tag("h1", title),
        lead=tag("p", lead(result), class_="lead"),
        notice=join(tag("p", notice, class_="notice", role="alert") for notice in result["notices"]),
        cards=_cards(result),
        sections=join([_against_rate(result), _over_epochs(result), _sizes(result), _history(result), _origin(result)]),
    )


def write(result: Result, path: str | Path) -> None:
    """Writes the page, in one step.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    beside = Path(f"{path}.part")
    beside.write_text(render(result), encoding="utf8")
    beside.replace(path)


def lead(result: Result) -> str:
    """The outcome in a sentence or two."""
    stats = result["statistics"]
    verdict = "holds" if result["holds"] else "does not hold"
    return (
        f"After {result['exit_epoch']} epochs the accuracy {verdict}: {stats['compressed_accuracy']:.4g} on the "
        f"validation split, {stats['uncompressed_accuracy']:.4g} before, at an achieved rate of "
        f"{wording.percent(stats['compression_rate'], 1)}."
    )


def size_rows(result: Result) -> Iterator[tuple[str, str, str, str]]:
    """Name, before, after and ratio of everything that was measured; nothing where nothing was."""
    if "test" in result:
        test = result["test"]
        before, after = test["before"], test["after"]
        yield (
            "test accuracy" if "watched" not in test else "test accuracy, exits taken",
            wording.percent(before),
            wording.percent(after),
            f"{wording.points(after - before)} points",
        )
        if "mean_macs" in test:
            yield _row("mean MACs, exits taken", test["mean_macs"]["before"], test["mean_macs"]["after"])
    if "size" not in result:
        return
    size = result["size"]
    for key, name in (("parameters", "parameters"), ("macs", "MACs per row"), ("bytes", "bytes in a file")):
        yield _row(name, size["before"][key], size["after"][key])
    for lap in size["latency"]:
        before, after = lap["before"]["median"], lap["after"]["median"]
        name = f"time, batch {lap['batch']}"
        yield name, wording.milliseconds(before), wording.milliseconds(after), f"{lap['ratio']:.2f}x"


def _row(name: str, before: float | None, after: float | None) -> tuple[str, str, str, str]:
    ratio = f"{after / before:.2f}x" if before and after is not None else wording.NOT_APPLICABLE
    shown = [wording.NOT_APPLICABLE if value is None else wording.compact(value) for value in (before, after)]
    return name, shown[0], shown[1], ratio


def _cards(result: Result) -> Markup:
    stats = result["statistics"]
    asked = stats["nominal_compression_rate"]
    note = "no algorithm has a rate" if asked is None else f"asked for {wording.percent(asked, 1)}"
    cards = [
        ("Achieved rate", wording.percent(stats["compression_rate"], 1), note),
        ("Budget left", f"{stats['accuracy_budget']:+.4g}", "distance to the worst tolerable metric"),
        ("Epochs", str(result["exit_epoch"]), f"stopped by: {result['stopped']}; best epoch {result['best_epoch']}"),
    ]
    return tag(
        "div",
        *(
            tag(
                "div",
                *(tag("div", text, class_=kind) for kind, text in zip(("name", "value", "note"), card, strict=True)),
            )
            for card in cards
        ),
        class_="cards",
    )


def _against_rate(result: Result) -> Markup:
    rated = [record for record in result["history"] if record["achieved"] is not None]
    if not rated:
        return Markup("")
    return section(
        "Accuracy against rate",
        picture(
            _rate_figure(rated, _limit(result)), "Every validation, by the rate achieved then. The line is the limit."
        ),
    )


def _over_epochs(result: Result) -> Markup:
    return section(
        "Accuracy over the epochs",
        picture(
            _epoch_figure(result["history"], _limit(result)),
            "Grey points were not fully compressed; they cannot be the result.",
        ),
    )


def _sizes(result: Result) -> Markup:
    rows = list(size_rows(result))
    caption = (
        "Times are medians of calls that alternate in one run; parameters, MACs and bytes are of the stripped model."
    )
    return section("Before and after", table(["", "before", "after", "ratio"], rows, caption)) if rows else Markup("")


def _history(result: Result) -> Markup:
    headers = ["epoch", "metric", "budget", "rate asked", "rate achieved", "stage"]
    rows = [
        [
            record["epoch"],
            f"{record['metric']:.4g}",
            f"{record['budget']:+.4g}",
            wording.percent(record["nominal"], 1),
            wording.percent(record["achieved"], 1),
            "fully compressed" if record["full"] else "not yet",
        ]
        for record in result["history"]
    ]
    return section("Every validation", table(headers, rows, "On the validation split."))


def _origin(result: Result) -> Markup:
    facts = [
        f"{name} {result[name]}" for name in ("config", "seed", "device", "commit") if result.get(name) is not None
    ]
    return section("Where this comes from", tag("p", "; ".join(facts) or "Not recorded."))


def _rate_figure(records: list[Mapping[str, Any]], limit: float) -> str:
    with drawing("rate") as new_figure:
        axes = new_figure(figsize=(5.2, 3.2)).add_subplot()
        _points(axes, records, [100 * record["achieved"] for record in records], limit)
        axes.set(xlabel="achieved rate, %", ylabel="metric")
        axes.legend(loc="best")
        return inline(axes.figure, "rate", "Accuracy against the compression rate")


def _epoch_figure(records: list[Mapping[str, Any]], limit: float) -> str:
    with drawing("epochs") as new_figure:
        axes = new_figure(figsize=(5.2, 2.6)).add_subplot()
        axes.plot([r["epoch"] for r in records], [r["metric"] for r in records], color=PARTLY, linewidth=0.8)
        _points(axes, records, [record["epoch"] for record in records], limit)
        axes.set(xlabel="epoch", ylabel="metric")
        axes.xaxis.get_major_locator().set_params(integer=True)
        return inline(axes.figure, "epochs", "Accuracy over the epochs")


def _points(axes: Any, records: list[Mapping[str, Any]], places: list[float], limit: float) -> None:
    kinds = {"holds": HOLDS, "does not hold": FAILS, "not fully compressed": PARTLY}
    for label, colour in kinds.items():
        chosen = [k for k, record in enumerate(records) if _kind(record) == label]
        if chosen:
            axes.plot(
                [places[k] for k in chosen], [records[k]["metric"] for k in chosen], "o", color=colour, label=label
            )
    axes.axhline(limit, color=INK, linewidth=0.8)


def _limit(result: Result) -> float:
    """The worst tolerable metric."""
    stats = result["statistics"]
    sign = 1 if result["direction"] == "maximise" else -1
    return float(stats["compressed_accuracy"] - sign * stats["accuracy_budget"])


def _kind(record: Mapping[str, Any]) -> str:
    if not record["full"]:
        return "not fully compressed"
    return "holds" if record["budget"] >= 0 else "does not hold"
