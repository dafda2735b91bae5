from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

import offramp as ofr
from offramp.benchmark import Results, Suite, bench, running, scheduling
from offramp.benchmark.compute import Matcher
from offramp.benchmark.figures import write_figures
from offramp.benchmark.pacing import Pace, measured
from offramp.benchmark.report import write_report
from offramp.benchmark.running import Problem
from offramp.errors import BenchmarkError, FileFormatError
from offramp.regimes import BackboneAlone, BranchWise, Disjoint, Joint

CPU = torch.device("cpu")
PACES = {"joint": {"joint": 1.0}, "disjoint": {"backbone": 0.5, "heads": 0.25}}


class Slow(nn.Module):
    """Takes a while in its forward pass."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.linear, self.seconds = nn.Linear(4, 3), seconds

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        time.sleep(self.seconds)
        return self.linear(features)


def small_model(head: float = 0.0) -> ofr.ExitModel:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    return ofr.attach(backbone, at=["1"], example=torch.zeros(1, 4), head=Slow(head))


def batches(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(torch.randn(8, 4), torch.randint(3, (8,))) for _ in range(count)]


def test_a_step_that_takes_longer_has_a_larger_ratio():
    pace = measured((Joint(), small_model(0.03)), small_model(0.01), batches, {"device": "cpu"}, rounds=3)
    assert pace.joint >= 0.01
    assert 1.5 < pace.phases["joint"] < 3.5


def test_every_phase_is_timed_and_the_models_stay_as_they_are():
    own, joint = small_model(), small_model()
    before = [p.clone() for p in own.parameters()]
    pace = measured((BranchWise(), own), joint, batches, {"device": "cpu", "warmup": 5.0}, rounds=1)
    assert list(pace.phases) == [phase.name for phase in BranchWise().phases(2, 2)]
    assert all(ratio > 0 for ratio in pace.phases.values())
    assert all(torch.equal(p, q) for p, q in zip(before, own.parameters(), strict=True))


def test_a_regime_that_cannot_be_trained_says_why():
    with pytest.raises(BenchmarkError, match=r"Joint cannot be timed: .*lr"):
        measured((Joint(), small_model()), small_model(), batches, {"device": "cpu", "lr": -1.0})


@pytest.fixture
def matcher() -> Matcher:
    (batch,) = batches(1)
    return Matcher(small_model(), batch, {"device": "cpu"}, samples=100, batch_size=10, epochs=4)


def test_half_the_time_a_step_gives_twice_the_steps(matcher):
    length = matcher.length(BackboneAlone(), 1.0, pace=Pace({"backbone": 0.5}, 0.01, 9))
    assert (length.epochs, length.steps, length.time) == (8, 10, 1.0)
    # Both budgets are those of joint training; MACs are counted, not supposed.
    assert length.budget == 100 * 4 * matcher.joint
    assert length.macs == matcher.cost(BackboneAlone(), 8) * 10 * 10


def test_phases_count_by_their_epochs(matcher):
    pace = Pace({"backbone": 0.5, "heads": 0.25}, 0.01, 9)
    length = matcher.length(Disjoint(), 2.0, pace=pace)
    own = pace.of(Disjoint().phases(2, length.epochs))
    assert own * 100 >= 2.0 * 400 > pace.of(Disjoint().phases(2, length.epochs - 1)) * 100
    assert length.time == pytest.approx(1, abs=0.5 * 10 * own / 800)


def test_joint_training_is_the_yardstick_however_fast_it_is(matcher):
    length = matcher.length(Joint(), 1.0, pace=Pace({"joint": 1.0}, joint=123.0, rounds=9))
    assert replace(length, time=None) == matcher.length(Joint(), 1.0)


def test_a_phase_that_was_not_timed_is_named():
    with pytest.raises(BenchmarkError, match="'heads' was not timed, only backbone"):
        Pace({"backbone": 1.0}, 0.01, 9).of(Disjoint().phases(2, 2))


@pytest.fixture
def timed_suite(plain_suite, monkeypatch) -> Suite:
    """Joint and disjoint for equal time, with paces that are known."""
    monkeypatch.setattr(
        scheduling.Problem, "pace", lambda self, entry, seed: Pace(PACES[entry.regime], joint=0.01, rounds=9)
    )
    regimes = {name: {"regime": name, "match": ["time"]} for name in PACES}
    return Suite.from_dict(plain_suite(seeds=[0], regimes=regimes))


def test_runs_of_equal_time_keep_their_pace_and_their_length(timed_suite, tmp_path):
    results = Results(tmp_path)
    assert bench(timed_suite, results, CPU, made={"commit": "abc"}) == 2
    disjoint, joint = results.all()
    assert str(joint.key) == "pairs / joint / seed 0 / equal time"
    assert (tmp_path / "runs/pairs/joint/seed0-time.json").exists()
    assert disjoint.figures["pace"]["phases"] == PACES["disjoint"]
    steps = {one.key.regime: one.figures["training"]["steps"] for one in (disjoint, joint)}
    seen = {phase: epochs * steps["disjoint"] for phase, epochs in disjoint.figures["training"]["phases"].items()}
    assert 0.5 * seen["backbone"] + 0.25 * seen["heads"] == pytest.approx(2 * steps["joint"], rel=0.2)
    assert disjoint.figures["training"]["time"] == pytest.approx(1, rel=0.2)


def test_the_yardstick_is_as_fast_as_itself(plain_suite, monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.setattr(running, "measured", partial(measured, rounds=1))
    suite = Suite.from_dict(plain_suite())
    problem = Problem(suite.problems["pairs"], CPU)
    assert problem.pace(suite.regimes["joint"], 0).phases == {"joint": 1.0}
    other = problem.pace(replace(suite.regimes["joint"], head="sdn_pool"), 0).phases
    assert other["joint"] != 1.0


def test_tables_and_figures_of_equal_time_alone(timed_suite, tmp_path):
    pytest.importorskip("matplotlib")
    bench(timed_suite, Results(tmp_path), CPU)
    assert "### patience, equal time" in write_report(Results(tmp_path)).text
    assert {path.stem for path in write_figures(Results(tmp_path))} == {"frontiers-time", "differences-time"}


def test_a_pace_is_taken_once(timed_suite, tmp_path, monkeypatch):
    bench(timed_suite, Results(tmp_path), CPU)
    monkeypatch.setattr(scheduling.Problem, "pace", lambda self, entry, seed: pytest.fail("timed again"))
    assert bench(replace(timed_suite, seeds=(0, 1)), Results(tmp_path), CPU) == 2


def test_a_pace_of_another_configuration_is_refused(timed_suite, tmp_path):
    bench(timed_suite, Results(tmp_path), CPU)
    path = tmp_path / "paces/pairs/disjoint.json"
    kept = json.loads(path.read_text())
    kept["config"]["problem"]["batch_size"] = 8
    path.write_text(json.dumps(kept))
    with pytest.raises(BenchmarkError, match=r"disjoint\.json was run with problem\.batch_size = 8, .* says 16"):
        bench(replace(timed_suite, seeds=(1,)), Results(tmp_path), CPU)
    path.write_text('{"format": "offramp.benchmark-pace", "version": 1}')
    with pytest.raises(FileFormatError, match=r"disjoint\.json is damaged.*Move it away"):
        bench(replace(timed_suite, seeds=(2,)), Results(tmp_path), CPU)
