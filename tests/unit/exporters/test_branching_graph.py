"""The one ONNX graph that takes the exits itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import offramp as ofr
from offramp.criteria import (
    AllOf,
    AnyOf,
    ClassFloors,
    ClassThresholds,
    Coarse,
    Energy,
    Gate,
    GeometricEnsemble,
    Gini,
    JensenShannon,
    Margin,
    PerExit,
    Random,
    Voting,
    WeightedEnsemble,
)
from offramp.exporters.artefact import with_thresholds
from offramp.exporters.subject import Subject
from offramp.lowering import OPSET, to_onnx
from offramp.segments import Plan

onnx: Any = pytest.importorskip("onnx")
ort: Any = pytest.importorskip("onnxruntime")
branching = pytest.importorskip("offramp.runtimes.branching")
graph_file = pytest.importorskip("offramp.exporters.graph_file")


@dataclass(frozen=True)
class Agreement(ofr.criteria.Criterion):
    """Reads all earlier logits: the share of earlier exits that name the same class, plus a little of the margin."""

    uses_earlier: ClassVar[bool] = True

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        top = logits.softmax(-1).max(-1).values
        return top if not earlier else top * torch.stack([e.softmax(-1).max(-1).values for e in earlier]).mean(0)

    def grid(self, classes: int, size: int) -> list[float]:
        return [1 - i / size for i in range(size)]


GATE = Gate(((((2.0, 0.5, 1.0, 1.0),), (-1.0,)),), classes=4, top=2)
FLOORS = (0.1, 0.3, 0.2, 0.4)
OF_EVERY_KIND = [
    Energy(),
    Gini(),
    JensenShannon(),
    Voting(),
    GeometricEnsemble(),
    WeightedEnsemble(((1.0,), (0.5, 1.0), (0.2, 0.0, 1.5)), (FLOORS,) * 3),
    Random(),
    AnyOf((Margin(), JensenShannon()), (0.5, 0.7)),
    AllOf((Gini(), GeometricEnsemble()), (0.3, 0.4)),
    ClassThresholds(GeometricEnsemble(), FLOORS),
    ClassFloors(Margin(), (0.01, 0.02, 0.01, 0.0)),
    PerExit((GATE, Margin())),
    Coarse(((0, 1, 1, 2),)),
]
"""For the smallest network: two early exits, four classes."""


def built(case: Any) -> tuple[Subject, Any]:
    subject = Subject.of(case.model, case.policy, None)
    models = [to_onnx(segment) for segment in subject.segments]
    return subject, branching.branching_model(models, subject.plan, [x.name for x in subject.inputs], {})


def session(model: Any) -> Any:
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def agrees(subject: Subject, run: Any, expected: ofr.Decisions, inputs: Any) -> None:
    found = graph_file.Graph(run, subject)(inputs)
    torch.testing.assert_close(found.exits, expected.exits)
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-5, rtol=1e-4)


def test_it_decides_like_the_runtime_at_every_batch_size(tiny: Any, halving: Callable[..., Any]) -> None:
    case = halving(tiny)
    subject, model = built(case)
    onnx.checker.check_model(model, full_check=True)
    run = session(model)
    seen = set()
    for rows in range(1, 34):
        inputs = case.batch(rows, seed=rows)
        expected = case.decide(inputs)
        agrees(subject, run, expected, inputs)
        seen |= set(expected.exits.tolist())
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("criterion", "temperatures"),
    [
        (ofr.criteria.MaxProbability(), [0.5, 2.0]),
        (ofr.criteria.Entropy(), None),
        (Agreement(), [0.5, 2.0]),
        *((criterion, [0.5, 2.0]) for criterion in OF_EVERY_KIND),
    ],
    ids=["max probability", "entropy", "earlier logits", *(str(c.to_dict()["name"]) for c in OF_EVERY_KIND)],
)
def test_criteria_and_temperatures_are_inside(
    tiny_mlp: Any, halving: Callable[..., Any], criterion: Any, temperatures: Any
) -> None:
    case = halving(tiny_mlp, criterion, temperatures)
    subject, model = built(case)
    inputs = case.batch(40, seed=3)
    expected = case.decide(inputs)
    assert len(set(expected.exits.tolist())) > 1
    agrees(subject, session(model), expected, inputs)


def test_a_head_that_only_later_exits_read_runs_without_a_gate(tiny_resnet: Any, halving: Callable[..., Any]) -> None:
    case = halving(tiny_resnet, Agreement())
    policy = ofr.Policy(Agreement(), [math.inf, *case.policy.thresholds[1:]])
    closed = type(case)(case.model, policy, case.batch)
    subject, model = built(closed)
    assert [node.name for node in model.graph.node if node.op_type == "If"] == ["s1@if"]
    inputs = case.batch(40, seed=4)
    expected = closed.decide(inputs)
    assert 1 < len(set(expected.exits.tolist())) <= 3
    agrees(subject, session(model), expected, inputs)


@pytest.mark.parametrize("exit", [0, 2, 3])
def test_one_exit_for_everybody(case: Any, exit: int) -> None:
    fixed = type(case)(case.model, ofr.always(exit), case.batch)
    subject, model = built(fixed)
    inputs = case.batch(9, seed=5)
    agrees(subject, session(model), fixed.decide(inputs), inputs)
    assert len(subject.segments) == (1 if exit == 3 else 2)


@pytest.fixture(scope="module")
def graph(case: Any) -> tuple[Subject, Any]:
    return built(case)


@given(
    st.lists(st.sampled_from([-math.inf, math.inf, 0.05, 0.2, 0.4, 0.8]), min_size=3, max_size=3), st.integers(1, 20)
)
def test_other_thresholds_in_the_same_graph(case: Any, graph: Any, thresholds: list[float], rows: int) -> None:
    subject, model = graph
    plan = with_thresholds(subject.plan, thresholds)
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    branching.set_thresholds(changed, plan)
    inputs = case.batch(rows, seed=rows)
    agrees(subject, session(changed), subject.staged(plan)(inputs), inputs)


def test_rows_that_are_not_numbers_never_leave_early(case: Any, graph: Any) -> None:
    subject, model = graph
    inputs = case.batch(9, seed=6)
    inputs[4] = math.nan
    found = graph_file.Graph(session(model), subject)(inputs)
    expected = case.decide(inputs)
    assert found.exits.tolist() == expected.exits.tolist()
    assert found.exits[4] == 3
    assert bool(found.logits[4].isnan().all())


def test_a_ruined_segment_touches_nobody_who_left_before_it(case: Any, graph: Any) -> None:
    subject, model = graph
    ruined = onnx.ModelProto()
    ruined.CopyFrom(model)
    for inner in branching._graphs(ruined.graph):
        for weight in inner.initializer:
            if weight.name.startswith(("s1/", "s2/", "s3/")) and weight.data_type == onnx.TensorProto.FLOAT:
                nothing = np.full(tuple(weight.dims), np.nan, dtype=np.float32)
                weight.CopyFrom(onnx.numpy_helper.from_array(nothing, weight.name))
    inputs = case.batch(30, seed=7)
    expected = case.decide(inputs)
    found = graph_file.Graph(session(ruined), subject)(inputs)
    early = expected.exits == 0
    assert 0 < int(early.sum()) < 30
    assert bool((found.exits[early] == 0).all())
    torch.testing.assert_close(found.logits[early], expected.logits[early], atol=1e-5, rtol=1e-4)
    assert bool(found.logits[~early].isnan().all())


def test_later_weights_lie_inside_the_branches(graph: Any) -> None:
    _, model = graph
    outer = [weight.name for weight in model.graph.initializer]
    assert outer
    assert all(name.startswith("s0") for name in outer)
    levels = branching._graphs(model.graph)
    assert {weight.name[:2] for level in levels for weight in level.initializer} == {"s0", "s1", "s2", "s3"}


def test_a_profile_shows_no_node_of_a_segment_that_nobody_needs(case: Any, written: Callable[..., Any]) -> None:
    subject = Subject.of(case.model, case.policy, None)
    file = graph_file.GraphFile(written("onnx").folder / "model.onnx", subject)
    inputs = case.batch(60, seed=8)
    exits = case.decide(inputs).exits
    for exit in exits.unique().tolist():
        assert file.executed(subject.plan, inputs[exits == exit]) == tuple(range(exit + 1))


def test_openvino_runs_the_graph_and_the_segments(case: Any, written: Callable[..., Any]) -> None:
    openvino: Any = pytest.importorskip("openvino")
    folder = written("onnx").folder
    core, settings = openvino.Core(), {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(str(folder / "model.onnx"), "CPU", settings)
    for rows in (1, 6, 33):
        inputs = case.batch(rows, seed=rows)
        expected = case.decide(inputs)
        found = compiled({"input": inputs.numpy()})
        assert found["exits"].tolist() == expected.exits.tolist()
        torch.testing.assert_close(torch.from_numpy(found["logits"]), expected.logits, atol=1e-4, rtol=1e-4)
    first = core.compile_model(str(folder / "segment_0.onnx"), "CPU", settings)
    logits = case.model(inputs)[0]
    torch.testing.assert_close(torch.from_numpy(first([inputs.numpy()])["logits"]), logits, atol=1e-4, rtol=1e-4)


def test_what_the_file_says_about_itself(case: Any, written: Callable[..., Any]) -> None:
    model = onnx.load(written("onnx").folder / "model.onnx")
    about = {entry.key.removeprefix("offramp."): entry.value for entry in model.metadata_props}
    assert about.pop("version") == ofr.__version__
    facts = {name: json.loads(value) for name, value in about.items()}
    assert facts["thresholds"] == list(case.policy.thresholds)
    assert facts["criterion"] == {"name": "margin"}
    assert facts["class_names"] == ["cat", "dog", "owl", "elk"]
    assert (facts["exits"], facts["classes"], facts["stops"], facts["opset"]) == (4, 4, [0, 1, 2, 3], OPSET)
    assert ofr.Policy.from_dict(facts["policy"]) == case.policy
    assert Plan.from_dict(facts["plan"]).costs.tolist() == facts["macs"]
    outputs = {x.name: [d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim] for x in model.graph.output}
    assert outputs == {"logits": ["rows", 4], "exits": ["rows"]}


class Reordering(torch.nn.Module):
    """Its parts are called in the graph as what joins segments might be."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("order", torch.tensor([3, 1, 2, 0]))
        self.rest = torch.nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        index = x[:, self.order]
        rows = self.rest(index)
        return rows[:, self.order]


def test_names_inside_a_model_do_not_collide(halving: Callable[..., Any], tiny_mlp: Any) -> None:
    backbone = torch.nn.Sequential(Reordering(), Reordering(), Reordering())
    model = ofr.attach(backbone, at=["0", "1"], example=torch.randn(2, 4)).eval()
    case = type(halving(tiny_mlp))(model, ofr.Policy(ofr.criteria.Margin(), [0.2, 0.2]), tiny_mlp.batch)
    subject, graph = built(case)
    onnx.checker.check_model(graph, full_check=True)
    inputs = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    agrees(subject, session(graph), case.decide(inputs), inputs)


def test_inputs_are_called_as_in_the_model(tiny_pair: Any, halving: Callable[..., Any]) -> None:
    subject, model = built(halving(tiny_pair))
    assert [x.name for x in model.graph.input] == ["input_0", "input_1"] == [x.name for x in subject.inputs]
    named = ofr.attach(
        tiny_pair.make(), at=["mix"], example=dict(zip(["image", "vector"], tiny_pair.batch(2), strict=True))
    )
    assert [x.name for x in Subject.of(named, ofr.always(0), None).inputs] == ["image", "vector"]
