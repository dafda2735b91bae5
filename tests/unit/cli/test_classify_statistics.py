from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import offramp as ofr
from offramp.cli.steps.classification import lines
from offramp.cli.steps.classification.oracle_report import OracleReport
from offramp.cli.steps.classification.outcomes import Outcomes
from offramp.cli.steps.classification.statistics import confusion, figures
from offramp.criteria import Entropy, MaxProbability
from offramp.oracle import label_gate


def random_logits(exits: int, samples: int, classes: int, seed: int, scale: float = 4.0) -> tuple[list[Tensor], Tensor]:
    draw = torch.Generator().manual_seed(seed)
    logits = [scale * torch.randn(samples, classes, generator=draw) for _ in range(exits)]
    return logits, torch.randint(classes, (samples,), generator=draw)


def policy_at(*thresholds: float) -> ofr.Policy:
    return ofr.Policy(Entropy(), [-t for t in thresholds])


@given(st.integers(0, 10_000), st.floats(0, 2.5), st.floats(0, 2.5))
def test_samples_leave_as_the_runtime_lets_them(seed: int, first: float, second: float) -> None:
    logits, labels = random_logits(3, 12, 8, seed)
    policy = policy_at(first, second)
    recording = ofr.Recording(torch.stack(logits), labels, macs=[1, 2, 3])
    simulated = ofr.simulate(recording, policy)
    outcomes = Outcomes.of_batch(logits, labels, policy)
    assert outcomes.taken(policy).equal(simulated.exits)
    found = figures(outcomes, outcomes.taken(policy), recording.macs)
    assert found.top1 == pytest.approx(100 * simulated.accuracy(labels))
    assert found.mean_macs == pytest.approx(simulated.mean_macs)


def test_the_entropy_is_in_nats_and_the_comparison_strict() -> None:
    logits, labels = [torch.zeros(1, 4), torch.zeros(1, 4)], torch.tensor([0])
    entropy = -float(Entropy().score(logits[0]))
    assert entropy == pytest.approx(math.log(4))
    for threshold, exit in ((entropy, 1), (entropy + 1e-6, 0)):
        assert Outcomes.of_batch(logits, labels, policy_at(threshold)).taken(policy_at(threshold)).tolist() == [exit]


@given(st.integers(0, 10_000))
def test_no_label_changes_who_leaves(seed: int) -> None:
    logits, labels = random_logits(2, 20, 5, seed)
    policy = policy_at(0.9)
    taken = [Outcomes.of_batch(logits, told, policy).taken(policy) for told in (labels, (labels + 1) % 5)]
    assert taken[0].equal(taken[1])


def test_figures_of_an_exit_are_of_those_who_left_there_and_losses_of_all() -> None:
    logits = [torch.tensor([[9.0, 0, 0], [0, 9.0, 0], [0.1, 0, 0]]), torch.tensor([[0, 0, 9.0]]).repeat(3, 1)]
    labels = torch.tensor([0, 0, 2])
    outcomes = Outcomes.of_batch(logits, labels, policy_at(0.4))
    early, last = figures(outcomes, outcomes.taken(policy_at(0.4))).exits
    assert (early.count, early.top1, last.count, last.top1) == (2, 50.0, 1, 100.0)
    assert early.percent == pytest.approx(200 / 3)
    assert early.loss == pytest.approx(float(F.cross_entropy(logits[0], labels)))
    assert early.top5 == last.top5 == 100  # there are fewer than five classes


def test_means_are_weighted_by_samples_not_by_batches() -> None:
    logits, labels = random_logits(2, 33, 10, seed=1)
    policy = policy_at(1.0)
    whole = Outcomes.of_batch(logits, labels, policy)
    bounds = [(0, 32), (32, 33)]
    parts = [Outcomes.of_batch([z[a:b] for z in logits], labels[a:b], policy) for a, b in bounds]
    joined = Outcomes.joined(parts)
    assert figures(joined, joined.taken(policy)) == figures(whole, whole.taken(policy))
    unweighted = sum(figures(part, part.taken(policy)).loss for part in parts) / 2
    assert figures(whole, whole.taken(policy)).loss != pytest.approx(unweighted)


def test_an_unused_exit_says_so_and_has_no_accuracy_in_the_curves() -> None:
    logits, labels = random_logits(2, 6, 10, seed=0)
    outcomes = Outcomes.of_batch(logits, labels, policy_at(0))
    found = figures(outcomes, outcomes.taken(policy_at(0)))
    assert found.exits[0].top1 is None
    text = "\n".join(lines.figure_lines(found))
    assert "Accuracy Stats for exit 0: top1 = n/a, top5 = n/a" in text
    assert "Exit 0: 0" in text
    assert "Percent Early Exit 1: 100.000" in text
    names = dict(lines.board(found))
    assert "Top1_exit0" not in names
    assert names["Percent_exit0"] == 0


def test_an_infinite_loss_is_none_in_json() -> None:
    logits, labels = [torch.tensor([[0.0, float("-inf")]])] * 2, torch.tensor([1])
    outcomes = Outcomes.of_batch(logits, labels, policy_at(0.1))
    found = figures(outcomes, outcomes.taken(policy_at(0.1)))
    assert found.loss == math.inf
    assert found.to_dict()["loss"] is None
    assert found.to_dict()["exits"][0]["loss"] is None


def test_lines_are_distillers() -> None:
    logits, labels = random_logits(2, 10, 10, seed=3, scale=9)
    outcomes = Outcomes.of_batch(logits, labels, policy_at(0.5))
    found = figures(outcomes, outcomes.taken(policy_at(0.5)))
    text = list(lines.figure_lines(found))
    assert text[-1].startswith(f"Totals for entire network with early exits: top1 = {found.top1:.3f}, top5 = ")
    line = lines.training_line(0, 10, 352, {"Overall Loss": 2.3, "Top1_exit0": 10.0})
    assert line == "Epoch: [0][   10/  352]    Overall Loss 2.300000    Top1_exit0 10.000000"


def test_a_network_without_exits_has_no_lines_and_no_curves_of_exits() -> None:
    logits, labels = random_logits(1, 10, 10, seed=3)
    found = figures(Outcomes.of_batch(logits, labels, policy_at()), torch.zeros(10, dtype=torch.int64), [2e6])
    assert list(lines.figure_lines(found)) == []
    assert list(dict(lines.board(found))) == ["Loss", "Top1", "Top5", "Mean MACs"]
    assert lines.cost_line(found, 2e6) == "Mean cost: 2.000 MMACs per sample"
    assert lines.total_line("Test", found).startswith(f"==> Test: Top1: {found.top1:.3f}    Top5: ")


def test_confusion_counts_the_answers_that_were_given() -> None:
    logits, labels = random_logits(2, 50, 4, seed=5)
    policy = policy_at(0.6)
    outcomes = Outcomes.of_batch(logits, labels, policy)
    matrix = confusion(outcomes, outcomes.taken(policy), 4)
    decisions = ofr.simulate(ofr.Recording(torch.stack(logits), labels, macs=[1, 2]), policy)
    for label in range(4):
        for answer in range(4):
            assert matrix[label, answer] == ((labels == label) & (decisions.predictions == answer)).sum()


@given(st.integers(0, 10_000), st.floats(0.01, math.log(2)))
def test_up_to_ln_2_whoever_leaves_by_the_label_is_right_by_construction(seed: int, threshold: float) -> None:
    logits, labels = random_logits(2, 40, 10, seed)
    outcomes = Outcomes.of_batch(logits, labels, policy_at(threshold))
    early = figures(outcomes, label_gate(outcomes.losses, [threshold])).exits[0]
    assert early.top1 in (None, 100.0)


@given(st.integers(0, 10_000), st.floats(0.1, 2.0), st.floats(0.1, 2.0))
def test_the_comparison_is_at_the_same_exit_rates(seed: int, first: float, second: float) -> None:
    logits, labels = random_logits(3, 30, 10, seed)
    policy = policy_at(first, second)
    report = OracleReport.of(Outcomes.of_batch(logits, labels, policy), [first, second], policy)
    assert [r.count for r in report.oracle.exits] == [r.count for r in report.same_rate.exits]
    assert report.to_dict()["deployable"] is False
    assert report.overstatement == pytest.approx(report.oracle.top1 - report.same_rate.top1)


def test_the_oracle_overstates_and_says_that_it_cannot_be_deployed() -> None:
    logits, labels = random_logits(2, 500, 10, seed=0, scale=3.0)
    policy = policy_at(1.2)
    report = OracleReport.of(Outcomes.of_batch(logits, labels, policy), [1.2], policy)
    assert report.overstatement > 5
    assert "cannot be deployed" in next(iter(report.lines()))


def test_a_gate_at_given_rates_lets_the_surest_leave() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.7], [0.9, 0.0, 0.8, 0.1]])
    nothing = torch.zeros(3, 4)
    outcomes = Outcomes(scores, nothing, nothing.long(), nothing.bool(), torch.zeros(4).long())
    assert outcomes.gated([1, 2]).tolist() == [1, 0, 1, 2]


def test_other_criteria_score_too() -> None:
    logits, labels = random_logits(2, 20, 5, seed=2)
    policy = ofr.Policy(MaxProbability(), [0.8])
    sure = logits[0].softmax(dim=1).amax(dim=1) > 0.8
    assert Outcomes.of_batch(logits, labels, policy).taken(policy).eq(0).equal(sure)


class _Counting(TorchDispatchMode):
    """Counts the operations that torch executes."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_nothing_loops_over_samples() -> None:
    counts = []
    for samples in (20, 2000):
        logits, labels = random_logits(2, samples, 10, seed=0)
        with _Counting() as counting:
            outcomes = Outcomes.of_batch(logits, labels, policy_at(0.8))
            figures(outcomes, outcomes.taken(policy_at(0.8)), [1, 2])
        counts.append(counting.count)
    assert counts[0] == counts[1]
