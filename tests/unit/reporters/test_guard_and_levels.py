"""What training did to the final exit, and how finely samples are answered, in every report."""

from __future__ import annotations

import dataclasses
import io
import json
import re

import pytest
from rich.console import Console

import offramp as ofr
from offramp.criteria import Coarse, MinimumDepth
from offramp.reporters import Provenance, Results, Subject, html, text
from offramp.training import FinalExitCheck

pytest.importorskip("matplotlib")

WORSE = FinalExitCheck(alone=0.75, after=0.7, low=-0.08, high=-0.02, samples=20)
GROUPS = ((0, 0, 1),)


def words(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


def printed(results: Results) -> str:
    file = io.StringIO()
    text.show(results, Console(file=file, width=80))
    return " ".join(file.getvalue().split())


@pytest.fixture
def worse(results: Results) -> Results:
    assert results.final_exit is not None
    return dataclasses.replace(results, final_exit=dataclasses.replace(results.final_exit, check=WORSE))


@pytest.fixture
def grouped(recording: ofr.Recording, subject: Subject, provenance: Provenance) -> Results:
    policy = ofr.Policy(MinimumDepth(Coarse(GROUPS), depth=0), [0.9, 0.9])
    return Results.of(recording, policy, subject, provenance)


def test_a_final_exit_that_got_worse_is_said_loudly_and_with_a_way_out(worse: Results) -> None:
    page = html.render(worse)
    loud = re.search(r'<p class="notice" role="alert">(The final exit is worse[^<]*)</p>', page)
    assert loud is not None
    assert "70.00 % against 75.00 %, -5.00 points [-8.00, -2.00] on 20 samples" in loud[1]
    assert "Disjoint training leaves the final exit as it is." in loud[1]
    assert "Validation split, n = 20, seed 1, cpu; 95 % interval." in loud[1]
    assert "The final exit is worse than the backbone alone" in printed(worse)


def test_one_that_did_not_is_said_quietly(results: Results) -> None:
    page = html.render(results)
    assert re.search(r"<p>The final exit is no different from the backbone alone", page)
    assert "Disjoint training leaves" not in page
    assert "no different from the backbone alone" in printed(results)


def test_levels_by_hand(grouped: Results, recording: ofr.Recording) -> None:
    policy = ofr.Policy(Coarse(GROUPS), [0.9, 0.9])
    decisions = ofr.simulate(recording, policy)
    labels = recording.required_labels
    assert grouped.levels is not None
    fine, coarse = grouped.levels.rows
    assert (fine.groups, coarse.groups) == (3, 2)
    rows = decisions.levels == 1
    assert 0 < coarse.samples == int(rows.sum()) < recording.samples
    assert fine.samples + coarse.samples == recording.samples
    assert fine.accuracy == pytest.approx(float((decisions.predictions == labels)[~rows].double().mean()))
    in_group = (decisions.logits[:, :2].logsumexp(1) > decisions.logits[:, 2]) == (labels < 2)
    assert coarse.accuracy == pytest.approx(float(in_group[rows].double().mean()))


def test_levels_are_shown_and_come_back(grouped: Results) -> None:
    assert grouped.levels is not None
    coarse = grouped.levels.rows[1]
    row = f"group, level 1 2 {coarse.samples:,} {100 * coarse.share:.1f} % {100 * (coarse.accuracy or 0):.2f} %"
    assert row in words(html.render(grouped))
    assert f"group, level 1 {100 * coarse.share:.1f} % (" in printed(grouped)
    assert Results.from_dict(json.loads(json.dumps(grouped.to_dict()))) == grouped


def test_a_level_at_which_nobody_is_answered_has_no_accuracy(
    recording: ofr.Recording, subject: Subject, provenance: Provenance
) -> None:
    closed = ofr.Policy(Coarse(GROUPS), [float("inf"), float("inf")])
    found = Results.of(recording, closed, subject, provenance)
    assert found.levels is not None
    assert found.levels.rows[1].accuracy is None
    assert "group, level 1 2 0 0.0 % n/a" in words(html.render(found))


def test_policies_that_answer_with_classes_have_no_levels(results: Results) -> None:
    assert results.levels is None
    assert "Answered with" not in html.render(results)
