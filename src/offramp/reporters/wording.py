"""How numbers read, the same in the terminal and in HTML. What does not apply is n/a, never 0."""

from __future__ import annotations

from offramp.reporters.results.agreement import Agreement
from offramp.reporters.results.document import Results
from offramp.reporters.results.final_exit import FinalExit
from offramp.reporters.results.speed import Speed

NOT_APPLICABLE = "n/a"


def percent(share: float | None, digits: int = 2) -> str:
    """`0.9174` -> `91.74 %`.

    Example:
        >>> percent(0.9174), percent(None)
        ('91.74 %', 'n/a')
    """
    return NOT_APPLICABLE if share is None else f"{100 * share:.{digits}f} %"


def count(number: int | None) -> str:
    """`10000` -> `10,000`."""
    return NOT_APPLICABLE if number is None else f"{number:,}"


def points(share: float) -> str:
    """A difference of accuracies in percentage points, with its sign: `-0.0031` -> `-0.31`."""
    return f"{100 * share:+.2f}"


def bound(share: float) -> str:
    """A bound in percentage points: `0.01` -> `≤ 1 point`."""
    return f"≤ {100 * share:g} point{'' if share == 0.01 else 's'}"


def milliseconds(seconds: float) -> str:
    """Three significant digits: `0.00123` -> `1.23 ms`."""
    return f"{1000 * seconds:.3g} ms"


def compact(count: float) -> str:
    """`10_400_000` -> `10.4 M`.

    Example:
        >>> compact(10_400_000), compact(950)
        ('10.4 M', '950')
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.3g}"


def threshold(value: float | str | None) -> str:
    """A policy's threshold; a closed exit is said to be closed."""
    if value is None:
        return NOT_APPLICABLE
    if isinstance(value, str):
        return {"inf": "closed", "-inf": "everything leaves"}.get(value, value)
    return f"{value:.4f}"


def temperature(value: float | None) -> str:
    """Three digits, or n/a."""
    return NOT_APPLICABLE if value is None else f"{value:.3f}"


def faster(speed: Speed) -> str:
    """A ratio of times in words.

    Example:
        `ratio = 0.4` reads "2.50x faster", `ratio = 1.1` reads "1.10x slower".
    """
    return f"{1 / speed.ratio:.2f}x faster" if speed.ratio <= 1 else f"{speed.ratio:.2f}x slower"


def final_exit(found: FinalExit) -> str:
    """What training with exits did to the final exit, and what to do where it lost."""
    advice = " Disjoint training leaves the final exit as it is." if found.check.worse else ""
    return f"{found.check.sentence()}{advice}"


def answered_with(level: int) -> str:
    """What samples of a level are answered with.

    Example:
        >>> answered_with(0), answered_with(2)
        ('class', 'group, level 2')
    """
    return f"group, level {level}" if level else "class"


def agreement(found: Agreement) -> str:
    """Whether exits taken were those foretold, in one sentence."""
    n = found.source.samples
    largest = found.largest_difference
    gap = "" if largest is None else ", the same logits" if largest == 0 else f", logits within {largest:.2g}"
    return (
        f"Taken for real and simulated from the recording: {found.same_exit:,} of {n:,} samples at the same exit, "
        f"{found.same_prediction:,} with the same prediction{gap}."
    )


def static_verdict(results: Results) -> str:
    """How the policy compares with the best static exit that costs no more."""
    headline = results.headline
    affordable = [row for row in results.exits.rows if row.macs_share <= headline.macs_share]
    if not affordable:
        return f"No exit used alone is as cheap as {percent(headline.macs_share, 1)} of the plain network."
    best = max(affordable, key=lambda row: row.accuracy)
    gain = headline.accuracy - best.accuracy
    return (
        f"The best exit used alone that costs no more is exit {best.exit} ({best.place}): {percent(best.accuracy)} at "
        f"{percent(best.macs_share, 1)} of the MACs. The policy is {100 * abs(gain):.2f} points "
        f"{'better' if gain >= 0 else 'worse'}."
    )
