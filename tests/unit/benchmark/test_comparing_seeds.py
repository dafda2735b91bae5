from __future__ import annotations

import math
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from offramp.benchmark import answers, comparing, findings, tables
from offramp.benchmark.comparing import Board, Interval
from offramp.errors import BenchmarkError, MissingExtraError

WOBBLE = (0.00, 0.01, -0.01, 0.005, -0.005)
"""Differences between seeds that all regimes share: only pairing takes them out."""


@pytest.fixture
def board(fake_run):
    """Joint at 50 %, disjoint a point below, mixed-long two above, joint-long one and a half above."""
    levels = {
        "joint": 0.50,
        "disjoint": 0.49,
        "mixed": 0.50,
        "mixed-long": 0.52,
        "joint-long": 0.515,
        "better": 0.53,
        "noisy": 0.53,
    }
    runs = []
    for problem in ("one", "two"):
        for regime, level in levels.items():
            for seed, shared in enumerate(WOBBLE):
                own = 0.2 * (-1) ** seed if regime == "noisy" else 0.0002 * seed * len(regime)
                data = {"one": "fashion-mnist", "two": "digit-pairs"}[problem]
                runs.append(fake_run(problem, regime, seed, level + 5 * shared + own, data=data))
    return Board(runs)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12))
def test_intervals_are_those_of_the_t_test(values):
    found = Interval.of(values)
    spread = stats.sem(values)
    if spread > 1e-9:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=sum(values) / len(values), scale=spread)
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


def test_pairing_takes_out_what_seeds_share(board):
    measure = comparing.area("max_probability")
    paired = board.difference("one", "mixed-long", "joint", measure)
    unpaired = board.level("one", "joint", measure)
    assert paired.resolved
    assert paired.verdict == "more"
    assert paired.high - paired.low < 0.1 * (unpaired.high - unpaired.low)


def test_what_is_not_resolved_is_no_difference(board):
    noisy = board.difference("one", "noisy", "joint", comparing.area("max_probability"))
    assert noisy.verdict == "no difference"
    assert "no difference" in tables.difference(noisy)
    assert not noisy.resolved


def test_few_seeds_give_no_verdict():
    assert Interval.of([0.1, 0.1, 0.1]).verdict == "too few seeds (3 of 5)"
    assert Interval.of([0.1]).low == -math.inf
    assert tables.difference(Interval.of([0.1])) == "+10.0 (1 seed)"
    with pytest.raises(BenchmarkError, match="no seed"):
        Interval.of([])


def test_only_shared_seeds_are_compared(fake_run):
    board = Board([fake_run("p", "joint", s, 0.5) for s in (0, 1)] + [fake_run("p", "mixed", s, 0.6) for s in (1, 2)])
    found = board.difference("p", "mixed", "joint", comparing.final_exit)
    assert found.seeds == 1
    assert found.mean == pytest.approx(0.1)
    assert board.difference("p", "mixed", "nobody", comparing.final_exit) is None


def test_a_regime_under_which_no_exit_learned_is_not_drawn(fake_run):
    found = Board([fake_run("p", name, 0, 0.5) for name in ("joint", "backbone")])
    assert found.regimes("p") == ["joint", "backbone"]
    assert found.with_exits("p") == ["joint"]


def test_the_papers_three_come_first(board):
    assert board.regimes("one")[:3] == ["disjoint", "joint", "mixed"]


def test_low_budgets_compare_disjoint_with_joint(board):
    found = findings.low_budgets(board, "max_probability")
    assert [(c.problem, c.what) for c in found][:2] == [
        ("one", "disjoint - joint, 25 %"),
        ("one", "disjoint - joint, 50 %"),
    ]
    assert all(c.found.verdict == "less" for c in found)


def test_full_budget_compares_short_long_and_unequal(board):
    means = {c.what: c.found.mean for c in findings.full_budget(board, "max_probability") if c.problem == "two"}
    assert set(means) == {"mixed - joint, 100 %", "mixed-long - joint-long, 100 %", "mixed-long - joint, 100 %"}
    assert means["mixed-long - joint, 100 %"] > means["mixed-long - joint-long, 100 %"] > 0


def test_how_much_of_a_lead_survives(board, fake_run):
    (lead, _) = findings.leads(board, comparing.within(1.0, "max_probability"))
    assert lead.survives == pytest.approx(lead.equal.mean / lead.unequal.mean)
    assert 0.2 < lead.survives < 0.4
    level = {"joint": 0.5, "mixed-long": 0.5, "joint-long": 0.5}
    even = Board([fake_run("p", name, seed, value) for name, value in level.items() for seed in range(5)])
    assert findings.leads(even, comparing.final_exit)[0].survives is None


def test_a_candidate_must_beat_all_three_everywhere(board):
    found = {c.regime: c for c in findings.candidates(board, "max_probability")}
    assert set(found) == {"better", "noisy"}
    assert next(iter(found)) == "better"
    assert found["better"].wins(["one", "two"], corrected=True)
    assert not found["noisy"].wins(["one"])
    assert not found["better"].wins(["one", "three"])
    assert not found["better"].wins([])
    for name, margin in found["better"].margins.items():
        assert found["better"].corrected[name].low < margin.low
        # The closest rival is joint or mixed, not disjoint.
        assert margin.mean < 0.04


def test_levels_and_differences_are_in_points(board):
    text = tables.document(board, ["max_probability"])
    assert text.count("## one") == 1
    row = next(line for line in text.splitlines() if line.startswith("| joint |"))
    assert row.count("50.") == 7
    assert "0.990" in row
    assert re.search(r"\| disjoint \| -[01]\.\d \[-1\.\d, -0\.\d\] \|", text)


def test_runs_that_match_something_else_are_on_another_board(fake_run):
    runs = [fake_run("p", "joint", 0, 0.5), fake_run("p", "joint", 0, 0.7, match="time")]
    board = Board(runs)
    assert board.level("p", "joint", comparing.final_exit).mean == 0.5
    assert board.matched_by("time").level("p", "joint", comparing.final_exit).mean == 0.7
    text = tables.document(board, ["max_probability"])
    assert [line for line in text.splitlines() if line.startswith("###")] == [
        "### max_probability, equal compute",
        "### max_probability, equal time",
    ]


def test_verdicts_for_equal_time_stand_beside_those_at_equal_compute(board, fake_run):
    assert answers.ANSWERS["regimes_time"](board) == ""
    level = {"joint": 0.5, "disjoint": 0.53, "mixed": 0.5}
    timed = [fake_run("one", name, s, at, match="time") for name, at in level.items() for s in range(5)]
    shown = answers.ANSWERS["regimes_time"](Board([*board._given, *timed]))
    assert "Of 3 comparisons, 1 have the same verdict for equal time as at equal compute, and 2 the opposite" in shown
    assert re.search(r"one \| disjoint - joint, 25 % \| -[01]\.\d \[.*\] less \| \+3\.0 \[.*\] more \|", shown)
    assert "| one | disjoint | disjoint 0.50 | 1.00 ± 0.00 | 1.00 ± 0.00 | 0.99 ± 0.00 |" in shown


def test_without_scipy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'offramp\[bench\]'"):
        Interval.of([0.0, 1.0])


def test_answers_carry_their_evidence(board):
    low = answers.ANSWERS["regimes_low"](board)
    assert "so in 4 of 4 comparisons, the other way round in 0, not resolved in 0" in low
    assert "| one | disjoint - joint, 25 % |" in low
    beyond = answers.ANSWERS["regimes_beyond"](board)
    assert beyond.startswith("Beats disjoint, joint and mixed on both image sets: `better` (with resnet).")
    assert beyond.splitlines()[-1].endswith("| none | none |")
    assert "| one | +" in answers.ANSWERS["regimes_compute"](board)
    paper = answers.ANSWERS["regimes_paper"](board)
    assert "| ResNet-34 / CIFAR-100 | paper | 73.79 | 74.17 | **75.88** |" in paper
    assert "| ViT-T / ImageNet | paper | **71.61** | 68.39 | 71.20 |" in paper
    assert "| one | here, mixed trained twice as long | 49." in paper
    assert "**52." in paper
    assert "| one | here, equal compute |" in paper
    full = answers.ANSWERS["regimes_full"](board)
    assert "Trained twice as long, mixed is better than joint within 100 %: so in 2 of 2 comparisons" in full
    assert "At equal compute, mixed is better than joint within 100 %: so in 2 of 4 comparisons" in full
    assert answers.ANSWERS["regimes_overview"](board).count("| one |") == 7


def test_without_a_winner_what_was_tried_is_listed(fake_run):
    names = ["disjoint", "joint", "mixed", "other"]
    even = Board([fake_run("p", name, seed, 0.5) for name in names for seed in range(5)])
    text = answers.ANSWERS["regimes_beyond"](even)
    assert text.startswith("None of the 1 regimes tried beats")
    assert "| other | +0.0 [+0.0, +0.0] no difference | none | none |" in text
    assert answers.image_problems(even) == {}, "one data set is not both"


def test_without_runs_there_is_no_answer(fake_run):
    alone = Board([fake_run("p", "joint", 0, 0.5)])
    assert [answers.ANSWERS[name](alone) for name in ("regimes_low", "regimes_full", "regimes_compute")] == [""] * 3
