"""A verdict in plain words: one sentence per finding, each with what it was measured on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from offramp.comparison import Answer, Crossover, Ratio

if TYPE_CHECKING:
    from offramp.verdicts.findings import Conditions, Point, Showing, Verdict
    from offramp.verdicts.remainder import Remainder


def sentences(verdict: Verdict) -> list[str]:
    """Everything, the answers first and the conditions last."""
    first, *_ = verdict.points
    found = [answer(point) for point in verdict.points]
    found += [crossover(verdict.crossover, list(verdict.answer))]
    found += [latency(point) for point in verdict.points if point.batch == 1]
    found += [] if verdict.tax is None else [tax(verdict.tax)]
    found += [throughput(verdict), *baselines(verdict)]
    found += [
        *_memory(verdict),
        *(remainder(point.batch, point.remainder) for point in verdict.points if point.remainder),
    ]
    return [*found, macs(first), *_repeated(verdict), conditions(first.conditions, verdict)]


def answer(point: Point) -> str:
    """Whether exits pay at one batch size.

    Example:
        "Batch 8: exits pay: 0.62 of the plain time (0.60 to 0.64), 1.61x faster."
    """
    said = {Answer.PAYS: "exits pay", Answer.DOES_NOT_PAY: "exits do not pay", Answer.UNRESOLVED: "unresolved"}
    ratio = point.ratio
    tail = {
        Answer.PAYS: f", {1 / ratio.median:.2f}x faster",
        Answer.DOES_NOT_PAY: f", {ratio.median:.2f}x slower",
        Answer.UNRESOLVED: "; the interval holds 1",
    }
    return f"Batch {point.batch}: {said[point.answer]}: {_share(ratio)} of the plain time{tail[point.answer]}."


def crossover(found: Crossover, sizes: Sequence[int]) -> str:
    """Where paying begins or ends, among the measured batch sizes."""
    if found.up_to == max(sizes):
        return f"Exits pay at every batch size measured ({_listed(sizes)})."
    ends = [f"up to batch size {found.up_to}"] if found.up_to is not None else []
    ends += [f"from batch size {found.from_} on"] if found.from_ is not None else []
    where = " and ".join(ends) or "neither at the smallest nor at the largest"
    return f"Of the batch sizes measured ({_listed(sizes)}), exits surely pay {where}."


def latency(point: Point) -> str:
    """Quantiles of single requests."""
    return (
        f"A single request takes {_tails(point.exits)} with exits and {_tails(point.plain)} without "
        "(median / 95 % / 99 % quantile)."
    )


def tax(found: Ratio) -> str:
    """What exits cost a sample that takes none of them."""
    return f"A sample that never leaves takes {_share(found)} of the plain time at batch 1."


def throughput(verdict: Verdict) -> str:
    """The most samples per second, each at its own best batch size."""
    exits = max(verdict.points, key=lambda point: point.exits.throughput)
    plain = max(verdict.points, key=lambda point: point.plain.throughput)
    return (
        f"Most throughput: {exits.exits.throughput:,.0f} samples/s with exits (batch {exits.batch}), "
        f"{plain.plain.throughput:,.0f} without (batch {plain.batch})."
    )


def baselines(verdict: Verdict) -> Iterator[str]:
    """Whether something simpler is as accurate and faster."""
    if not verdict.labelled:
        yield "The data has no labels: whether one exit alone would be as accurate cannot be said."
        return
    first, where = verdict.points[0], dict[str, list[int]]()
    for point in verdict.points:
        for showing in point.better_alone:
            where.setdefault(showing.name, []).append(point.batch)
    for name, sizes in where.items():
        point = verdict.at(sizes[0])
        yield (
            f"At batch {_listed(sizes)}, the {name} is faster than the exits and on this data at least as accurate "
            f"({_percent(point.showing(name))} against {_percent(point.exits)}, n = {verdict.samples:,}): use that."
        )
    if not where:
        yield (
            "No baseline is surely faster than the exits and as accurate as they are "
            f"({_percent(first.exits)}; plain {_percent(first.plain)}; n = {verdict.samples:,})."
        )


def macs(point: Point) -> str:
    """Whether the saving in MACs is real."""
    found = point.macs
    if found.executed is None:
        return (
            f"By prediction {found.predicted:,.0f} MACs are spent per sample; what the backend "
            f"{point.conditions.backend} executes cannot be counted."
        )
    return f"Executed MACs agree with the predicted {found.predicted:,.0f} per sample ({found.executed:,.0f}, counted)."


def conditions(found: Conditions, verdict: Verdict) -> str:
    """What all of it was measured on, and what times include."""
    threads = "1 thread" if found.threads == 1 else f"{found.threads} threads"
    return (
        f"Measured on {found.device} ({threads}), backend {found.backend}, {found.rounds} rounds in turns; at least "
        f"{min(point.conditions.samples for point in verdict.points)} samples per round, which leave like the "
        f"{verdict.samples:,} of the {verdict.split} data. Times are from inputs on the device to predictions on the "
        f"CPU, without loading or preprocessing. Intervals: {100 * verdict.points[0].ratio.confidence:g} % each."
    )


def remainder(batch: int, found: Remainder) -> str:
    """How near the runtime comes to its bounds at one batch size, and what keeps it from them."""
    parts = {
        "small batches": found.small_batches,
        "gates": found.gates,
        "gathers": found.gathers,
    }
    # Compiled segments contain their gates, which is not the same as gates that take no time.
    shown = {name: seconds for name, seconds in parts.items() if name != "gates" or seconds}
    listed = ", ".join(f"{name} {100 * seconds / found.measured:.1f} %" for name, seconds in shown.items())
    rest = 100 * found.rest / found.measured
    left = f", the rest {rest:.1f} %" if rest >= 0 else f"; together the parts take {-rest:.1f} % less than one by one"
    return (
        f"Batch {batch}: {100 * found.of_linear:.0f} % of the linear bound, {100 * found.of_segments:.0f} % of "
        f"the segment-cost bound; of the measured time go to {listed}{left}."
    )


def _memory(verdict: Verdict) -> Iterator[str]:
    peaks = [
        f"batch {point.batch}: {_mib(point.exits.peak_bytes)} against {_mib(point.plain.peak_bytes)}"
        for point in verdict.points
        if point.exits.peak_bytes is not None and point.plain.peak_bytes is not None
    ]
    if peaks:
        yield f"Peak memory with exits against without: {'; '.join(peaks)} ({verdict.memory})."


def _repeated(verdict: Verdict) -> Iterator[str]:
    sizes = [point.batch for point in verdict.points if point.conditions.distinct < point.conditions.samples]
    if sizes:
        yield (
            f"At batch {_listed(sizes)}, some samples were timed several times in a round: the data has only "
            f"{verdict.samples:,} of them."
        )


def _share(ratio: Ratio) -> str:
    return f"{ratio.median:.3g} ({ratio.low:.3g} to {ratio.high:.3g})"


def _tails(showing: Showing) -> str:
    return " / ".join(f"{1000 * seconds:.3g}" for seconds in (showing.p50, showing.p95, showing.p99)) + " ms"


def _percent(showing: Showing) -> str:
    accuracy = showing.worth.accuracy
    return "n/a" if accuracy is None else f"{100 * accuracy:.2f} %"


def _mib(count: int) -> str:
    return f"{count / 2**20:.3g} MiB"


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes))
