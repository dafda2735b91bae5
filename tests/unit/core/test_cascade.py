"""Separate models under one policy: the recording, the costs, the runtimes and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import offramp as ofr
from offramp.criteria import GeometricEnsemble, Margin
from offramp.errors import AttachError

INF = float("inf")


def network(width: int, classes: int = 4) -> nn.Module:
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes))


def inputs(rows: int = 40) -> Tensor:
    return 3 * torch.randn(rows, 6, generator=torch.Generator().manual_seed(rows))


@pytest.fixture
def models() -> list[nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return [network(4).eval(), network(8).eval(), network(32).eval()]


def halving(model: ofr.ExitModel, criterion: ofr.criteria.Criterion) -> ofr.Policy:
    """Half of the rows are above every threshold."""
    recording = ofr.record(model, [inputs(64)])
    closed = ofr.Policy(criterion, [INF] * (model.exits - 1))
    scores = [closed.score(k, recording.logits[k], recording.logits[:k].unbind()) for k in range(model.exits - 1)]
    return ofr.Policy(criterion, [float(s.median()) + 1e-4 for s in scores])


def test_every_exit_is_a_model(models):
    model = ofr.cascade(models, example=inputs(2))
    with torch.no_grad():
        for logits, alone in zip(model(inputs()), models, strict=True):
            assert torch.equal(logits, alone(inputs()))
    macs = [6 * w + w * w + 4 * w for w in (4, 8, 32)]
    assert model.cost.macs == (macs[0], macs[0] + macs[1], sum(macs))
    assert model.cost.plain == macs[2]


@pytest.mark.parametrize("criterion", [Margin(), GeometricEnsemble()])
@pytest.mark.parametrize("backend", ["eager", "onnxruntime"])
def test_taking_exits_equals_simulating_them(models, criterion, backend):
    if backend == "onnxruntime":
        pytest.importorskip("onnxruntime")
    model = ofr.cascade(models, example=inputs(2))
    policy = halving(model, criterion)
    expected = ofr.simulate(ofr.record(model, [inputs()]), policy)
    taken = ofr.deploy(model, policy, backend=backend)(inputs())
    assert set(expected.exits.tolist()) == {0, 1, 2}
    assert torch.equal(taken.exits, expected.exits)
    assert torch.equal(taken.macs, expected.macs)
    torch.testing.assert_close(taken.logits, expected.logits, rtol=1e-4, atol=1e-5)


def test_a_model_that_nobody_needs_does_not_run(models):
    model = ofr.cascade(models, example=inputs(2))
    seen: list[tuple[int, int]] = []
    for k, member in enumerate(models):
        member.register_forward_hook(lambda m, args, out, k=k: seen.append((k, len(out))))
    ofr.deploy(model, ofr.Policy(Margin(), [INF, -INF]))(inputs(5))
    assert seen == [(1, 5)]
    seen.clear()
    taken = ofr.deploy(model, ofr.always(2))(inputs(5))
    assert seen == [(2, 5)]
    assert taken.macs.tolist() == [model.cost.plain] * 5


def test_the_last_model_may_have_exits_of_its_own(models):
    inner = ofr.attach(models[2], at=["1"], example=inputs(2)).eval()
    model = ofr.cascade([models[0], inner])
    assert (model.exits, model.cuts) == (3, ("entrances.0", "model.1"))
    with torch.no_grad():
        assert torch.equal(model(inputs())[1], inner(inputs())[0])
    policy = halving(model, Margin())
    expected = ofr.simulate(ofr.record(model, [inputs()]), policy)
    taken = ofr.deploy(model, policy)
    assert torch.equal(taken(inputs()).exits, expected.exits)
    streamed = list(taken.stream([inputs()[i : i + 9] for i in range(0, 40, 9)], target=8))
    assert torch.equal(torch.cat([d.exits for d in streamed]), expected.exits)


@pytest.mark.parametrize("backend", ["eager", "onnxruntime"])
def test_every_model_may_have_exits_of_its_own(models, backend):
    if backend == "onnxruntime":
        pytest.importorskip("onnxruntime")
    small, large = (ofr.attach(m, at=["1"], example=inputs(2)).eval() for m in (models[0], models[2]))
    model = ofr.cascade([small, large])
    assert model.cuts == ("entrances.0", "entrances.1", "model.1")
    with torch.no_grad():
        for found, expected in zip(model(inputs()), [*small(inputs()), *large(inputs())], strict=True):
            torch.testing.assert_close(found, expected)
    assert model.cost.macs[:2] == (small.cost.macs[0], small.cost.macs[0] + small.cost.plain)
    assert model.cost.plain == large.cost.plain
    policy = halving(model, Margin())
    simulated = ofr.simulate(ofr.record(model, [inputs()]), policy)
    taken = ofr.deploy(model, policy, backend=backend)(inputs())
    assert len(simulated.exits.unique()) == 4
    assert torch.equal(taken.exits, simulated.exits)


def test_one_onnx_graph_skips_models_and_exits_inside_them(models, tmp_path):
    pytest.importorskip("onnxruntime")
    model = ofr.cascade([ofr.attach(m, at=["1"], example=inputs(2)).eval() for m in (models[0], models[2])])
    report = ofr.export(model, halving(model, Margin()), tmp_path / "cascade", format="onnx")
    of_graph = [parity for parity in report.parity if parity.artefact == "graph"]
    assert of_graph
    assert all(parity.equal == parity.rows for parity in of_graph)
    (skipping,) = [found for found in report.skipping if found.artefact == "graph"]
    assert (skipping.first.executed, skipping.last.executed) == ((0,), (0, 1, 2, 3))


def test_a_cascade_can_be_certified(models):
    model = ofr.cascade([models[0], models[2]], example=inputs(2))
    with torch.no_grad():
        labels = model(inputs(800))[1].argmax(1)
    recording = ofr.record(model, [(inputs(800), labels)])
    found = ofr.calibrate(recording, Margin(), ofr.goals.AccuracyDrop(0.2, delta=0.1))
    assert found.feasible
    assert found.evidence.plain_macs == model.cost.plain
    assert found.evidence.drop <= 0.2


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mul_(2))


class Branching(nn.Module):
    """Control flow that depends on data stops every way of cutting but hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)
        self.out = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return self.out(y if bool((y.detach().sum() > 1e9).item()) else y + 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ofr.cascade([network(8)], inputs(2)), "has 1 models: give at least two"),
        (lambda: ofr.cascade([network(4, 3), network(8)], inputs(2)), r"have \[3, 4\] classes"),
        (lambda: ofr.cascade([network(8), network(4)], inputs(2)), "cheapest first"),
        (lambda: ofr.cascade([network(8), network(8)], inputs(2)), "each dearer"),
        (lambda: ofr.cascade([network(4), network(8)]), r"example=\.\.\.\): give a batch"),
        (lambda: ofr.cascade([network(4), network(8)], (inputs(2), inputs(2))), "Models of several inputs"),
        (lambda: ofr.cascade([InPlace(), network(8)], inputs(2)), r"model 0 \(InPlace\) changes its input in place"),
        (
            lambda: ofr.cascade([ofr.attach(Branching(), ["linear"], inputs(2)), network(8)], inputs(2)),
            r"model 0 was cut by hooks.*\.backbone",
        ),
    ],
)
def test_what_is_no_cascade(make, message):
    with pytest.raises(AttachError, match=message):
        make()
