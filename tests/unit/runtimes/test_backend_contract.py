"""Every backend decides as the eager runtime does, for any number of rows, from any thread, and fails clearly."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import offramp as ofr
from offramp.errors import ExportError, InputError, PolicyError, StageError
from offramp.runtimes.backends import BACKENDS
from offramp.runtimes.backends.check import check_programs
from offramp.segments import Plan, segments_of

SHAPE = (3, 12, 12)
compiled = pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler on a CPU")
ON_CPU = [name for name in ["eager", *BACKENDS] if name != "cudagraphs"]  # that one has tests of its own
NAMES = [pytest.param(n, marks=[compiled] if n in ("compile", "aoti") else []) for n in ON_CPU]


class Small(nn.Module):
    """A convolutional network with batch norms before and behind convolutions, and an activation in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.second = nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, padding=1))
        self.third = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.third(self.second(self.first(x)))


@pytest.fixture(scope="module")
def model() -> ofr.ExitModel:
    torch.manual_seed(0)
    backbone = Small()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 2.0)
    heads = ["sdn_pool", "pooled_linear"]
    return ofr.attach(backbone, at=["first", "second"], example=torch.randn(2, *SHAPE), head=heads).eval()


@pytest.fixture(scope="module")
def inputs() -> torch.Tensor:
    return torch.randn(33, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def policy(model, inputs) -> ofr.Policy:
    """Thresholds halfway between two scores, where rounding decides nothing."""
    criterion = ofr.criteria.Margin()
    with torch.no_grad():
        scores = [criterion.score(logits).sort().values for logits in model(inputs)[:-1]]
    return ofr.Policy(criterion, [float(s[15] + s[16]) / 2 for s in scores])


@pytest.fixture(scope="module")
def deployed(model, policy):
    made = {}

    def get(name: str) -> ofr.runtimes.Runtime:
        if name not in made:
            made[name] = ofr.deploy(model, policy, backend=name)
        return made[name]

    return get


@pytest.mark.parametrize("name", NAMES)
def test_decisions_are_the_simulated_ones_at_every_batch_size(name, deployed, model, policy, inputs):
    expected = ofr.simulate(ofr.record(model, [(inputs, torch.zeros(33).long())]), policy)
    assert len(set(expected.exits.tolist())) == 3
    for rows in (33, 16, 7, 2, 1):
        got = deployed(name)(inputs[:rows])
        assert torch.equal(got.exits, expected.exits[:rows])
        torch.testing.assert_close(got.logits, expected.logits[:rows], rtol=1e-4, atol=1e-4)
        assert torch.equal(got.macs, expected.macs[:rows])


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_are_no_numbers_stay_to_the_end(name, deployed, inputs):
    broken = inputs[:6].clone()
    broken[2] = float("nan")
    expected = deployed("eager")(inputs[:6])
    got = deployed(name)(broken)
    assert got.exits[2] == 2
    others = torch.tensor([0, 1, 3, 4, 5])
    assert torch.equal(got.exits[others], expected.exits[others])


@pytest.mark.parametrize("name", NAMES)
def test_threads_share_a_runtime(name, deployed, inputs):
    runtime = deployed(name)
    expected = runtime(inputs)
    parts = [torch.arange(i, 33, 8) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            for rows, got in zip(parts, pool.map(lambda r: runtime(inputs[r]), parts), strict=True):
                assert torch.equal(got.exits, expected.exits[rows])
                torch.testing.assert_close(got.logits, expected.logits[rows], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (torch.zeros(0, *SHAPE), "batch is empty"),
        (torch.zeros(2, *SHAPE, dtype=torch.float64), "convert it with"),
        (torch.zeros(2, *SHAPE, device="meta"), "move"),
    ],
)
def test_bad_inputs(name, deployed, bad, said):
    with pytest.raises(InputError, match=said):
        deployed(name)(bad)


@pytest.mark.parametrize("name", NAMES[1:])
def test_rows_of_another_shape_are_refused_where_the_shape_is_compiled_in(name, deployed):
    with pytest.raises(InputError, match=r"built for rows of shape \[3, 12, 12\]"):
        deployed(name)(torch.zeros(2, 3, 16, 16))


@compiled
def test_one_graph_per_segment_serves_every_batch_size(model, policy, inputs, monkeypatch):
    compiled, compiler = [], torch._inductor.standalone_compile

    def counted(graph, *args, **options):
        compiled.append(graph)
        return compiler(graph, *args, **options)

    monkeypatch.setattr(torch._inductor, "standalone_compile", counted)
    torch._dynamo.utils.counters.clear()
    runtime = ofr.deploy(model, policy, backend="compile")
    assert len(compiled) == 3
    for rows in (1, 2, 3, 7, 16, 33):
        runtime(inputs[:rows])
    assert len(compiled) == 3
    assert not torch._dynamo.utils.counters["stats"]  # nothing was captured again at a call


def test_a_deployed_copy_does_not_follow_the_model(inputs, policy):
    torch.manual_seed(0)
    model = ofr.attach(Small(), at=["first", "second"], example=inputs[:2]).eval()
    runtime = ofr.deploy(model, policy, backend="onnxruntime")
    before = runtime(inputs).logits
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(runtime(inputs).logits, before)


def test_a_stage_that_fails_is_named_and_the_runtime_goes_on(deployed, policy, inputs):
    staged = deployed("eager").staged()
    broken, calls = list(staged.programs), []

    def out_of_memory(*tensors: torch.Tensor) -> list[torch.Tensor]:
        calls.append(len(tensors[0]))
        if len(calls) == 1:
            raise MemoryError("out of memory: tried to allocate 7 TiB")
        return staged.programs[1](*tensors)

    broken[1] = out_of_memory
    runtime = ofr.runtimes.StagedRuntime(staged.plan, broken, staged.names, staged.entrance, "eager")
    with pytest.raises(StageError, match=r"ends at 'second' failed on \d+ rows \(MemoryError.*fewer rows"):
        runtime(inputs)
    assert torch.equal(runtime(inputs).exits, staged(inputs).exits)


def test_a_program_that_computes_something_else_is_found_out(model, policy):
    segments = segments_of(model, Plan.of(model, policy))
    wrong = [lambda *tensors, s=s: [x + 1 for x in s(*tensors)] for s in segments]
    with pytest.raises(ExportError, match=r"backend='mine' computes something else.*ends at 'first', at 16 rows"):
        check_programs(segments, wrong, "mine")


def test_an_unknown_backend_is_answered_with_the_known_ones(model, policy):
    with pytest.raises(PolicyError, match=r"deploy\(backend='onnx'\).*Closest: 'onnxruntime'"):
        ofr.deploy(model, policy, backend="onnx")
