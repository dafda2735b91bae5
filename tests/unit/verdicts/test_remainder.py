"""Where the time goes: the arithmetic on made-up times, and what is timed on a real runtime."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import offramp as ofr
from offramp.latency import Laps
from offramp.verdicts import wording
from offramp.verdicts.remainder import Anatomy, Remainder, remainder


def laps(*requests: float) -> Laps:
    """The same times in each of three rounds."""
    return Laps((requests,) * 3)


def test_the_parts_add_up():
    found = remainder(
        {
            "segment 0": laps(10.0, 10.0),
            "gate 0": laps(1.0, 1.0),
            "segment 1": laps(6.0, 2.0),
            "segment 1, all rows": laps(8.0),
            "gathers": laps(0.5, 0.5),
        },
        measured=laps(17.0, 13.0),
        reaching=[1.0, 0.25],
    )
    assert found.measured == 15.0
    assert found.linear == (10 - 1) + 0.25 * 8
    assert found.small_batches == 9 + 4 - found.linear
    assert (found.gates, found.gathers) == (1.0, 0.5)
    assert found.rest == pytest.approx(15 - 9 - 4 - 1 - 0.5)
    parts = (found.small_batches, found.gates, found.gathers, found.rest)
    assert found.linear + sum(parts) == pytest.approx(found.measured)
    assert found.of_linear == pytest.approx(11 / 15)
    assert found.of_segments == pytest.approx(13 / 15)
    assert found.to_dict()["of_linear"] == found.of_linear


def test_gates_inside_compiled_segments_are_not_said_to_be_free():
    split = Remainder(measured=10.0, linear=7.0, small_batches=1.0, gates=0.0, gathers=0.5, rest=1.5)
    assert wording.remainder(64, split) == (
        "Batch 64: 70 % of the linear bound, 80 % of the segment-cost bound; of the measured time go to "
        "small batches 10.0 %, gathers 5.0 %, the rest 15.0 %."
    )
    assert "gates 5.0 %" in wording.remainder(64, replace(split, gates=0.5))
    together = wording.remainder(64, replace(split, rest=-1.0))
    assert together.endswith("gathers 5.0 %; together the parts take 10.0 % less than one by one.")


def test_a_segment_that_nobody_reaches_costs_nothing():
    found = remainder({"segment 0": laps(4.0), "gathers": laps(1.0)}, laps(5.0), reaching=[1.0, 0.0])
    assert (found.linear, found.small_batches, found.gathers, found.rest) == (4.0, 0.0, 1.0, 0.0)


@pytest.fixture(scope="module")
def deployed(tiny_resnet):
    """A runtime with about half leaving at the first exit, and its inputs."""
    model = tiny_resnet.attach()
    x = tiny_resnet.batch(8)
    with torch.no_grad():
        middle = float(ofr.criteria.Margin().score(model(x)[0]).median())
    return ofr.deploy(model, ofr.Policy(ofr.criteria.Margin(), [middle, float("inf"), 0.99])), x


def test_segments_are_timed_on_the_rows_that_reach_them(deployed):
    runtime, x = deployed
    anatomy = Anatomy.of(runtime, [x, x[:8]], "eager")
    taken = runtime(x).exits
    reaching = [float((taken >= first).double().mean()) for first in (0, 1, 3)]
    assert anatomy.reaching() == pytest.approx(reaching)
    assert reaching[1] < 1
    calls = anatomy.calls()
    assert {"gathers", "segment 0", "gate 0", "segment 1", "segment 1, all rows", "gate 1, all rows"} <= set(calls)
    assert "segment 0, all rows" not in calls  # all rows arrive there anyway
    assert "gate 2" not in calls  # at the last stop everything leaves
    assert len(calls["segment 0"][0]()[0]) == 8
    assert len(calls["segment 1"][0]()[0]) == round(8 * reaching[1])
    assert len(calls["segment 1, all rows"][0]()[0]) == 8
    score, answer = calls["gate 1"][0]()
    assert len(score) == len(answer) == round(8 * reaching[1])


def test_without_segments_the_same_is_decided(deployed):
    runtime, x = deployed
    predictions = Anatomy.of(runtime, [x], "eager").calls()["gathers"][0]()
    assert torch.equal(predictions, runtime(x).predictions)


def test_of_one_graph_only_what_is_outside_it_is_a_gather(deployed, monkeypatch):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    runtime, x = deployed
    graph = ofr.deploy(runtime.model, runtime.policy, backend="onnxruntime")
    expected = graph(x).predictions
    (call,) = Anatomy.of(graph, [x], "onnxruntime").calls()["gathers"]

    def asked(*tensors):
        raise AssertionError("neither the graph nor a segment may run")

    monkeypatch.setattr(graph, "graph", asked)
    monkeypatch.setattr(graph.staged(), "programs", [asked] * len(graph.staged().programs))
    assert torch.equal(call(), expected)


def test_gates_of_compiled_segments_are_not_told_apart(deployed):
    runtime, x = deployed
    assert not [name for name in Anatomy.of(runtime, [x], "compile").calls() if name.startswith("gate")]


def test_a_batch_that_leaves_at_once(tiny_resnet):
    runtime = ofr.deploy(tiny_resnet.attach(), ofr.always(exit=0))
    anatomy = Anatomy.of(runtime, [tiny_resnet.batch(3)], "eager")
    assert anatomy.reaching() == [1.0, 0.0]
    assert set(anatomy.calls()) == {"gathers", "segment 0", "gate 0"}


def test_criteria_that_read_earlier_logits(tiny_mlp, soft_agreement_everywhere):
    model, x = tiny_mlp.attach(), tiny_mlp.batch(9)
    runtime = ofr.deploy(model, ofr.Policy(soft_agreement_everywhere, [0.5, 0.5]))
    calls = Anatomy.of(runtime, [x], "eager").calls()
    assert torch.equal(calls["gathers"][0](), runtime(x).predictions)
    assert all(len(call()) for name, parts in calls.items() if name.startswith("gate") for call in parts)
