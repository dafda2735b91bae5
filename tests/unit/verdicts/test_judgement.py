"""The verdict's logic on networks and clocks that are made up: answers, crossover, tax, quantiles, baselines, words."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import offramp as ofr
from offramp.comparison import Answer, Crossover
from offramp.errors import VerdictError
from offramp.samples import Samples
from offramp.verdicts import Verdict, verdict
from offramp.verdicts.bench import Bench, Contender, Timing
from offramp.verdicts.findings import Macs, Worth
from offramp.verdicts.trial import Trial

Seconds = Callable[[int], float]
"""Time of a call by its number of rows."""


class Clock:
    """Moves only when a network runs."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def network(self, seconds: Seconds) -> Callable[[Tensor], Tensor]:
        def run(inputs: Tensor) -> Tensor:
            self.now += seconds(len(inputs))
            return torch.zeros(len(inputs), 4)

        return run


@pytest.fixture(scope="module")
def bench(tiny_mlp) -> Bench:
    model = tiny_mlp.attach()
    held = Samples.of(model, (tiny_mlp.batch(40), torch.arange(40) % 4))
    policy = ofr.Policy(ofr.criteria.Margin(), [0.3, 0.3])
    return Bench.of(model, policy, held, None, "eager", Timing(rounds=6, samples=16, seed=0))


def judged(bench: Bench, sizes: list[int], hard: Seconds | None = None, **seconds: Seconds) -> Verdict:
    """The verdict where networks take made-up times; names are the contenders', `_` for spaces."""
    clock = Clock()
    contenders = [replace(c, network=clock.network(seconds[c.name.replace(" ", "_")])) for c in bench.contenders]
    made_up = replace(
        bench,
        contenders=tuple(contenders),
        hard=None if hard is None else clock.network(hard),
        timing=replace(bench.timing, clock=clock),
    )
    return Verdict(tuple(Trial(made_up, b).point() for b in sizes), 40, "validation", True, 0, "made-up memory")


BASELINES = {"exit_0_alone": lambda n: 9.0 + n, "exit_1_alone": lambda n: 9.0 + n}


def test_exits_that_pay_from_a_batch_size_on(bench):
    found = judged(bench, [1, 2, 8], plain=lambda n: 1.5 * n, exits=lambda n: 1.0 + n, **BASELINES)
    assert found.answer == {1: "does not pay", 2: "unresolved", 8: "pays"}
    assert found.crossover == Crossover(up_to=None, from_=8)
    assert found.at(8).ratio.median == pytest.approx(9 / 12)
    words = found.summary()
    assert "Batch 1: exits do not pay: 1.33 (1.33 to 1.33) of the plain time, 1.33x slower." in words
    assert "Batch 2: unresolved: 1 (1 to 1) of the plain time; the interval holds 1." in words
    assert "Batch 8: exits pay: 0.75 (0.75 to 0.75) of the plain time, 1.33x faster." in words
    assert "Of the batch sizes measured (1, 2, 8), exits surely pay from batch size 8 on." in words


def test_exits_that_pay_up_to_a_batch_size(bench):
    found = judged(bench, [1, 8], plain=lambda n: 2.0 + n, exits=lambda n: 1.1 * n, **BASELINES)
    assert found.answer == {1: "pays", 8: "pays"}
    assert "Exits pay at every batch size measured (1, 8)." in found.summary()
    found = judged(bench, [1, 64], plain=lambda n: 2.0 + n, exits=lambda n: 1.1 * n, **BASELINES)
    assert found.crossover == Crossover(up_to=1, from_=None)
    assert "exits surely pay up to batch size 1." in found.summary()


def test_exits_that_never_pay(bench):
    found = judged(bench, [1, 8], plain=lambda n: n, exits=lambda n: 2.0 * n, **BASELINES)
    assert set(found.answer.values()) == {Answer.DOES_NOT_PAY}
    assert "exits surely pay neither at the smallest nor at the largest" in found.summary()


def test_the_tax_is_measured_at_batch_1(bench):
    found = judged(bench, [1, 8], hard=lambda n: 1.05 * n, plain=lambda n: n, exits=lambda n: 0.5 * n, **BASELINES)
    assert found.tax is not None
    assert found.tax.median == pytest.approx(1.05)
    assert found.at(8).tax is None
    assert "A sample that never leaves takes 1.05 (1.05 to 1.05) of the plain time at batch 1." in found.summary()
    assert judged(bench, [8], hard=lambda n: n, plain=lambda n: n, exits=lambda n: n, **BASELINES).tax is None


def test_quantiles_are_of_single_requests(bench):
    # Before the measured rounds: one look at memory and two rounds of warming up.
    times = iter([0.5] * 48 + ([0.001] * 9 + [0.02] * 6 + [0.3]) * 6)
    found = judged(bench, [1], plain=lambda n: 0.01, exits=lambda n: next(times), **BASELINES)
    exits = found.at(1).exits
    assert (exits.p50, exits.p95, exits.p99) == pytest.approx((0.001, 0.3, 0.3))
    assert exits.seconds == pytest.approx((9 * 0.001 + 6 * 0.02 + 0.3) / 16)
    assert exits.throughput == pytest.approx(1 / exits.seconds)
    assert "takes 1 / 300 / 300 ms with exits and 10 / 10 / 10 ms without" in found.summary()


def test_a_baseline_that_is_faster_and_as_accurate_is_named(bench):
    contenders = tuple(
        replace(c, worth=Worth(accuracy, 100.0))
        for c, accuracy in zip(bench.contenders, [0.9, 0.8, 0.8, 0.7], strict=True)
    )
    fast = {"exit_0_alone": lambda n: 0.3 * n, "exit_1_alone": lambda n: 0.2 * n}
    found = judged(replace(bench, contenders=contenders), [1, 8], plain=lambda n: n, exits=lambda n: 0.5 * n, **fast)
    assert [showing.name for showing in found.at(8).better_alone] == ["exit 0 alone"]
    assert (
        "At batch 1, 8, the exit 0 alone is faster than the exits and on this data at least as accurate "
        "(80.00 % against 80.00 %, n = 40): use that."
    ) in found.summary()
    assert found.to_dict()["points"][1]["better_alone"] == ["exit 0 alone"]


def test_no_baseline_is_named_that_is_slower(bench):
    contenders = tuple(replace(c, worth=Worth(0.8, 100.0)) for c in bench.contenders)
    found = judged(replace(bench, contenders=contenders), [8], plain=lambda n: n, exits=lambda n: 0.5 * n, **BASELINES)
    assert found.at(8).better_alone == ()
    assert (
        "No baseline is surely faster than the exits and as accurate as they are (80.00 %; plain 80.00 %; n = 40)"
        in (found.summary())
    )


def test_without_labels_nothing_is_said_about_accuracy(bench):
    contenders = tuple(replace(c, worth=Worth(None, 100.0)) for c in bench.contenders)
    fast = {"exit_0_alone": lambda n: 0.1 * n, "exit_1_alone": lambda n: 0.1 * n}
    found = judged(replace(bench, contenders=contenders), [8], plain=lambda n: n, exits=lambda n: 0.5 * n, **fast)
    assert found.at(8).better_alone == ()
    assert "The data has no labels" in replace(found, labelled=False).summary()


def test_every_number_says_under_what_it_was_measured(bench):
    found = judged(bench, [1, 64], plain=lambda n: n, exits=lambda n: n, **BASELINES)
    for point, (batch, count) in zip(found.points, [(1, 16), (64, 64)], strict=True):
        conditions = point.conditions
        assert (conditions.batch, conditions.samples, conditions.rounds) == (batch, count, 6)
        assert (conditions.device, conditions.threads, conditions.backend) == ("cpu", torch.get_num_threads(), "eager")
        assert conditions.distinct == min(count, 40)
    assert (
        "At batch 64, some samples were timed several times in a round: the data has only 40 of them."
        in found.summary()
    )
    assert "which leave like the 40 of the validation data" in found.summary()


def test_a_verdict_is_plain_data(bench):
    found = judged(bench, [1, 8], plain=lambda n: n, exits=lambda n: 0.5 * n, **BASELINES)
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (data["format"], data["version"]) == ("offramp.verdict", 1)
    assert data["answer"] == {"1": "pays", "8": "pays"}
    assert data["points"][0]["ratio"]["median"] == 0.5
    assert data["points"][1]["conditions"]["batch"] == 8
    assert data["sentences"] == found.sentences()


def test_a_batch_size_that_was_not_measured(bench):
    found = judged(bench, [8], plain=lambda n: n, exits=lambda n: n, **BASELINES)
    with pytest.raises(VerdictError, match=r"Batch size 9 was not measured, only \[8\]"):
        found.at(9)


def test_macs_that_differ_are_an_error():
    assert Macs(1000.0, 1000.9).check().executed == 1000.9
    assert Macs(1000.0, None).check().executed is None
    with pytest.raises(VerdictError, match=r"executed 1,002 MACs per sample where 1,000 were predicted"):
        Macs(1000.0, 1002.0).check()


def test_a_runtime_that_executes_more_than_it_says_is_refused(bench):
    runtime = ofr.deploy(bench.model, ofr.Policy(ofr.criteria.Margin(), [0.3, 0.3]))
    runtime.plan = replace(runtime.plan, costs=runtime.plan.costs * 0.9)
    with pytest.raises(VerdictError, match="predicted"):
        Trial(replace(bench, runtime=runtime), 8).point()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_sizes": (0,)}, "whole number of at least 1"),
        ({"batch_sizes": ()}, "at least one"),
        ({"rounds": 5}, "needs at least 6 rounds"),
        ({"samples": 0}, "at least 1 sample"),
    ],
)
def test_impossible_numbers(tiny_mlp, options, message):
    with pytest.raises(VerdictError, match=message):
        verdict(tiny_mlp.attach(), ofr.always(exit=0), tiny_mlp.batch(4), **options)


def test_contenders_cost_what_they_execute(bench):
    costs = {c.name: c.worth.macs for c in bench.contenders}
    cost = bench.model.cost
    assert costs["plain"] == cost.plain
    assert costs["exit 0 alone"] == cost.macs[0]
    assert costs["exit 1 alone"] == cost.macs[1] - cost.head_macs[0]
    assert all(isinstance(c, Contender) and c.worth.accuracy is not None for c in bench.contenders)
