from __future__ import annotations

import dataclasses

import pytest

from offramp.reporters import Results, wording


@pytest.mark.parametrize(("share", "shown"), [(None, "n/a"), (0.0, "0.00 %"), (0.91744, "91.74 %"), (1.0, "100.00 %")])
def test_percent(share: float | None, shown: str) -> None:
    assert wording.percent(share) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "n/a"), ("inf", "closed"), ("-inf", "everything leaves"), (0.5, "0.5000")]
)
def test_threshold(value: float | str | None, shown: str) -> None:
    assert wording.threshold(value) == shown


@pytest.mark.parametrize(("count", "shown"), [(950, "950"), (12_300, "12.3 k"), (1.04e7, "10.4 M"), (2e9, "2 G")])
def test_compact(count: float, shown: str) -> None:
    assert wording.compact(count) == shown


@pytest.mark.parametrize(("share", "shown"), [(0.01, "≤ 1 point"), (0.005, "≤ 0.5 points"), (0.02, "≤ 2 points")])
def test_bound(share: float, shown: str) -> None:
    assert wording.bound(share) == shown


def test_static_verdict_compares_with_the_best_affordable_exit(results: Results) -> None:
    headline = dataclasses.replace(results.headline, accuracy=0.9, macs_share=0.5)
    first, second, last = results.exits.rows
    rows = (
        dataclasses.replace(first, accuracy=0.8, macs_share=0.1),
        dataclasses.replace(second, accuracy=0.85, macs_share=0.5, place="layer2"),
        dataclasses.replace(last, accuracy=0.99, macs_share=1.0),
    )
    made = dataclasses.replace(results, headline=headline, exits=dataclasses.replace(results.exits, rows=rows))
    verdict = wording.static_verdict(made)
    assert "exit 1 (layer2): 85.00 % at 50.0 %" in verdict
    assert "5.00 points better" in verdict
    worse = dataclasses.replace(made, headline=dataclasses.replace(headline, accuracy=0.8))
    assert "5.00 points worse" in wording.static_verdict(worse)
    cheaper = dataclasses.replace(made, headline=dataclasses.replace(headline, macs_share=0.05))
    assert "No exit used alone is as cheap" in wording.static_verdict(cheaper)
