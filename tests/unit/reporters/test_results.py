from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

import offramp as ofr
from offramp.errors import FileFormatError
from offramp.reporters import Provenance, Results, Subject
from offramp.reporters.results.agreement import Agreement
from offramp.reporters.results.frontier import Point, thinned
from offramp.reporters.results.source import Source


def test_results_come_back_from_disk_as_they_were(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == results


def test_results_are_json_that_any_reader_takes(results: Results, tmp_path: Path) -> None:
    closed = dataclasses.replace(results, policy=ofr.Policy(ofr.criteria.Margin(), [float("inf"), 0.1]).to_dict())
    closed.save(tmp_path / "results.json")

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)


def test_every_section_with_numbers_says_where_they_come_from(results: Results) -> None:
    sections = [getattr(results, field.name) for field in dataclasses.fields(results)]
    sourced = [s for s in sections if dataclasses.is_dataclass(s) and not isinstance(s, Subject | Provenance)]
    assert len(sourced) == 9
    for section in [*sourced, *results.speed]:
        assert section.source.samples > 0
        assert section.source.split in {"test", "calibration", "validation"}
        assert section.source.seed is not None
        assert section.source.device.startswith("cpu")


def test_headline_by_hand(subject: Subject, provenance: Provenance) -> None:
    # Sample 0 leaves at exit 0 and is right there only; sample 1 goes on and is right; sample 2 leaves and is wrong.
    recording = ofr.Recording(
        logits=[[[9.0, 0.0], [0.1, 0.0], [9.0, 0.0]], [[0.0, 9.0], [0.0, 9.0], [0.0, 9.0]]],
        labels=[0, 1, 1],
        macs=[25, 105],
        head_macs=[5],
    )
    policy = ofr.Policy(ofr.criteria.MaxProbability(), [0.9])
    two = dataclasses.replace(subject, places=("layer1",))
    headline = Results.of(recording, policy, two, provenance).headline
    assert (headline.accuracy, headline.plain_accuracy) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (headline.worse, headline.better, headline.drop) == (1, 1, 0.0)
    assert headline.mean_macs == pytest.approx((25 + 105 + 25) / 3)
    assert headline.plain_macs == 100
    assert headline.source == Source("unnamed", 3, None, "unknown")


def test_exits_alone_are_the_always_exit_test(results: Results, recording: ofr.Recording) -> None:
    labels = recording.required_labels
    for row in results.exits.rows:
        alone = ofr.simulate(recording, ofr.always(exit=row.exit))
        assert row.accuracy == pytest.approx(alone.accuracy(labels))
        assert row.macs_share == pytest.approx(alone.mean_macs / recording.plain_macs)


def test_an_exit_that_nobody_took_has_no_accuracy(results: Results) -> None:
    skipped = results.exits.rows[1]
    assert (skipped.left, skipped.share, skipped.accuracy_left) == (0, 0.0, None)
    assert results.exits.rows[0].accuracy_left is not None
    assert results.gallery is not None
    assert results.gallery.shelves[1].easiest == results.gallery.shelves[1].hardest == ()


def test_a_closed_exit_is_written_as_text(recording: ofr.Recording, subject: Subject, provenance: Provenance) -> None:
    policy = ofr.Policy(ofr.criteria.Entropy(), [float("inf"), -0.2])
    rows = Results.of(recording, policy, subject, provenance).exits.rows
    assert [row.threshold for row in rows] == ["inf", -0.2, None]


def test_sections_that_cannot_be_computed_are_none(
    recording: ofr.Recording, policy: ofr.Policy, subject: Subject, provenance: Provenance, tmp_path: Path
) -> None:
    results = Results.of(recording, policy, subject, provenance)
    absent = (results.frontier, results.certificate, results.agreement, results.gallery, results.learning)
    assert (*absent, results.final_exit, results.levels) == (None,) * 7
    results.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == results


def test_always_exit_has_no_frontier(recording: ofr.Recording, subject: Subject, provenance: Provenance) -> None:
    results = Results.of(recording, ofr.always(exit=1), subject, provenance, calibration=recording)
    assert results.frontier is None
    assert [row.left for row in results.exits.rows] == [0, recording.samples, 0]


def test_agreement_counts_what_differs() -> None:
    source = Source("test", 3, 0, "cpu")
    simulated = ofr.Decisions(torch.tensor([[1.0, 0.0]] * 3), torch.tensor([0, 1, 1]), 2)
    taken = ofr.Decisions(torch.tensor([[1.0, 0.0], [0.75, 0.0], [0.0, 1.0]]), torch.tensor([0, 1, 0]), 2)
    found = Agreement.of(taken, simulated, source)
    assert (found.same_exit, found.same_prediction, found.largest_difference) == (2, 2, 0.25)


def test_agreement_without_any_common_exit() -> None:
    logits = torch.zeros(1, 2)
    taken, simulated = (ofr.Decisions(logits, torch.tensor([exit]), 2) for exit in (0, 1))
    assert Agreement.of(taken, simulated, Source("test", 1, 0, "cpu")).largest_difference is None


def test_thinning_keeps_ends_and_order() -> None:
    points = [Point(i / 1000, i / 2000) for i in range(1000)]
    kept = thinned(points, 50)
    assert 40 <= len(kept) <= 50
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert kept == sorted(set(kept), key=lambda p: p.macs_share)
    assert thinned(points[:50], 50) == points[:50]


def test_certificate_states_risk_and_size(results: Results) -> None:
    assert results.certificate is not None
    statement = results.certificate.statement()
    assert "at least 90 %" in statement
    assert "300 calibration samples" in statement
    assert "at most 20 percentage points" in statement


def test_an_empirical_calibration_promises_nothing(
    recording: ofr.Recording, policy: ofr.Policy, subject: Subject, provenance: Provenance
) -> None:
    outcome = ofr.calibrate(recording, goal=ofr.goals.MACBudget(share=2.0))
    evidence = outcome.evidence.to_dict()
    certificate = Results.of(recording, policy, subject, provenance, evidence=evidence).certificate
    assert certificate is not None
    assert "nothing is promised" in certificate.statement()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged or no results file"),
        ("[]", "is no results file"),
        ('{"format": "offramp.policy"}', "is no results file"),
        ('{"format": "offramp.results", "version": 99}', "format version 99"),
        ('{"format": "offramp.results", "version": 1}', "missing or unknown fields: exits, headline"),
    ],
)
def test_files_that_are_no_results_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(FileFormatError, match=message):
        Results.load(tmp_path / "results.json")


def test_a_file_from_before_a_section_was_thought_of_is_one_without_it(results: Results) -> None:
    data = {key: value for key, value in results.to_dict().items() if key not in ("final_exit", "levels")}
    assert Results.from_dict(json.loads(json.dumps(data))) == dataclasses.replace(results, final_exit=None)


def test_a_damaged_section_is_named(results: Results) -> None:
    data = json.loads(json.dumps(results.to_dict()))
    del data["exits"]["rows"][2]["share"]
    with pytest.raises(FileFormatError, match=r"results\.exits\.rows\[2\] has missing or unknown fields: share"):
        Results.from_dict(data)
    data["exits"] = 3
    with pytest.raises(FileFormatError, match=r"results\.exits must be an object"):
        Results.from_dict(data)


def test_missing_results_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="offramp evaluate RUN"):
        Results.load(tmp_path / "results.json")
