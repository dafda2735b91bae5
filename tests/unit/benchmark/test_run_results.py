from __future__ import annotations

import json

import pytest

from offramp.benchmark import Results, RunResult
from offramp.benchmark.results import RunKey, differences
from offramp.errors import BenchmarkError

KEY = RunKey("pairs", "joint", 3)
CONFIG = {"problem": {"fit": {"lr": 0.1}, "at": ["layer1"]}, "seed": 3}


@pytest.fixture
def kept(tmp_path) -> Results:
    results = Results(tmp_path)
    results.add(RunResult(KEY, CONFIG, {"area": {"entropy": 0.5}}, {"commit": "abc"}))
    return results


def test_what_is_written_is_read(kept):
    (run,) = kept.all()
    assert (run.key, run.config, run.figures, run.made) == (
        KEY,
        CONFIG,
        {"area": {"entropy": 0.5}},
        {"commit": "abc"},
    )
    assert (kept.folder / "runs/pairs/joint/seed3.json").exists()
    assert len(list(kept.folder.rglob("*.*"))) == 1, "nothing but the result is left"


def test_a_finished_run_is_known_by_its_configuration(kept):
    assert kept.finished(KEY, CONFIG)
    assert not kept.finished(RunKey("pairs", "joint", 4), CONFIG)


def test_another_configuration_is_refused_with_the_field(kept):
    changed = {"problem": {"fit": {"lr": 0.2}, "at": ["layer1"]}, "seed": 3}
    with pytest.raises(BenchmarkError, match=r"run with problem\.fit\.lr = 0\.1, and the suite says 0\.2.*--out"):
        kept.finished(KEY, changed)


def test_nothing_is_written_over(kept):
    before = (kept.folder / KEY.path).read_bytes()
    with pytest.raises(BenchmarkError, match="left as it is"):
        kept.add(RunResult(KEY, CONFIG, {"area": {"entropy": 0.9}}))
    assert (kept.folder / KEY.path).read_bytes() == before
    assert len(list(kept.folder.rglob("*.*"))) == 1


def test_a_result_that_is_no_json_is_not_written_at_all(tmp_path):
    with pytest.raises(ValueError):
        Results(tmp_path).add(RunResult(KEY, CONFIG, {"area": float("nan")}))
    assert not (tmp_path / KEY.path).exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(BenchmarkError, match="cannot be written"):
        Results(tmp_path).add(RunResult(KEY, CONFIG, {}))


@pytest.mark.parametrize("damage", ["{", "[]", '{"format": "offramp.benchmark-run", "version": 1}'])
def test_a_damaged_file_is_named(kept, damage):
    (kept.folder / KEY.path).write_text(damage)
    with pytest.raises(BenchmarkError, match=r"seed3\.json is damaged.*Move it away"):
        kept.all()


def test_a_newer_version_is_refused(kept):
    path = kept.folder / KEY.path
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
    with pytest.raises(BenchmarkError, match="version 2, not"):
        kept.finished(KEY, CONFIG)


def test_differences_name_fields_that_only_one_side_has():
    found = dict(differences({"a": {"b": 1}, "c": [1]}, {"a": {"b": 1, "d": 2}, "c": [2]}))
    assert found == {"a.d": (None, 2), "c": ([1], [2])}
