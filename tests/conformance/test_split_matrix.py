"""Every kind of model is cut by the engine that is expected, and takes the exits that simulating it predicts."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import offramp as ofr
from model_kinds import KINDS, Kind

BATCHES = (1, 4, 7)


@cache
def attached(kind: Kind) -> ofr.ExitModel:
    """With heads that are surer than fresh ones, so that scores differ from row to row. Shared: not to be changed."""
    model = ofr.attach(kind.make(), at=list(kind.cuts), example=kind.batch(2)).eval()
    with torch.no_grad():
        for parameter in model.heads.parameters():
            parameter.mul_(8)
    return model


def logits_of(model: ofr.ExitModel, inputs: object) -> list[Tensor]:
    with torch.no_grad():
        return model(inputs)


def policy_between_rows(model: ofr.ExitModel, inputs: object) -> ofr.Policy:
    """Thresholds in the middle of the scores at each exit, and in the widest gap near it."""
    margin = ofr.criteria.Margin()
    thresholds = []
    for logits in logits_of(model, inputs)[:-1]:
        scores = margin.score(logits).sort().values
        gaps = scores.diff()[len(scores) // 4 : 3 * len(scores) // 4]
        k = int(gaps.argmax()) + len(scores) // 4
        thresholds.append(float(scores[k : k + 2].mean()))
    return ofr.Policy(margin, thresholds)


def of_engine(engine: str) -> Kind:
    cheap = {"spine": "a model that uses its batch size", "export": "DistilBERT (Hugging Face)"}
    return next(k for k in KINDS if k.engine == engine and cheap.get(engine, k.name) == k.name)


@pytest.fixture(params=["spine", "export", "hooks"])
def by_each_engine(request: pytest.FixtureRequest) -> Kind:
    """A kind that this engine cuts."""
    return of_engine(request.param)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_taking_exits_equals_simulating_them(kind: Kind) -> None:
    model = attached(kind)
    assert model.chain().engine == kind.engine, model.chain().refusals
    inputs = kind.batch(max(BATCHES), seed=3)
    policy = policy_between_rows(model, inputs)
    simulated = ofr.simulate(
        ofr.Recording(torch.stack(logits_of(model, inputs)), None, model.cost.macs, model.cost.head_macs), policy
    )
    assert len(simulated.exits.unique()) > 1, "every row takes the same exit: the test shows nothing"
    runtime = ofr.deploy(model, policy)
    for rows in BATCHES:
        taken = runtime(pytree.tree_map(lambda x, n=rows: x[:n], inputs))
        assert torch.equal(taken.exits, simulated.exits[:rows])
        torch.testing.assert_close(taken.logits, simulated.logits[:rows], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_cost_counts_every_part(kind: Kind) -> None:
    model = attached(kind)
    assert list(model.cost.macs) == sorted(set(model.cost.macs))
    plain = ofr.cost.count_macs(lambda: logits_of(model, kind.batch(1))[-1])
    assert model.cost.macs[-1] == pytest.approx(plain, rel=1e-3)


def test_a_step_of_the_plain_model_shows_in_the_stages(by_each_engine: Kind) -> None:
    backbone = by_each_engine.make()
    model = ofr.attach(backbone, at=list(by_each_engine.cuts), example=by_each_engine.batch(2)).eval()
    chain, inputs = model.chain(), by_each_engine.batch(4)
    before = ofr.deploy(model, ofr.always(model.exits - 1))(inputs).logits
    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.5)
    model(inputs)[-1].logsumexp(1).sum().backward()
    optimizer.step()
    after = ofr.deploy(model, ofr.always(model.exits - 1))(inputs).logits
    assert model.chain() is chain
    assert not torch.allclose(after, before)
    torch.testing.assert_close(after, logits_of(model, inputs)[-1], rtol=1e-4, atol=1e-5)


def test_the_stages_of_an_exported_model_hold_its_own_tensors() -> None:
    model = attached(of_engine("export"))
    own = {id(x) for x in (*model.backbone.parameters(), *model.backbone.buffers())}
    held = [x for stage in model.stages() for x in (*stage.parameters(), *stage.buffers())]
    parameters = [id(x) for x in held if isinstance(x, nn.Parameter)]
    assert set(parameters) <= own
    assert sorted(parameters) == sorted(map(id, model.backbone.parameters())), "a stage holds what it does not run"


def saved_and_loaded(model: ofr.ExitModel) -> ofr.ExitModel:
    """Through torch.save."""
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES: dict[str, Callable[[ofr.ExitModel], ofr.ExitModel]] = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "deepcopy": copy.deepcopy,
    "torch.save": saved_and_loaded,
    "EMA": lambda model: torch.optim.swa_utils.AveragedModel(model).module,
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES.keys())
def test_copies_are_cut_the_same_way_and_stand_alone(by_each_engine: Kind, copied) -> None:
    model = attached(by_each_engine)
    twin = copied(model).eval()
    inputs = by_each_engine.batch(5)
    runtimes = [ofr.deploy(m, policy_between_rows(model, by_each_engine.batch(7, seed=3))) for m in (model, twin)]
    taken, again = (runtime(inputs) for runtime in runtimes)
    assert twin.chain().engine == by_each_engine.engine
    assert torch.equal(again.exits, taken.exits)
    torch.testing.assert_close(again.logits, taken.logits)
    with torch.no_grad():
        for parameter in twin.backbone.parameters():
            parameter.zero_()
    assert torch.equal(runtimes[0](inputs).logits, taken.logits)


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    """A process group of one."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_training_in_parallel_trains_what_the_stages_run(by_each_engine: Kind, one_process: None) -> None:
    kind = by_each_engine
    model = ofr.attach(kind.make(), at=list(kind.cuts), example=kind.batch(2))
    inputs = kind.batch(6)
    parallel = nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)
    sum(logits.logsumexp(1).sum() for logits in parallel(inputs)).backward()
    torch.optim.SGD(parallel.parameters(), lr=0.1).step()
    model.eval()
    expected = logits_of(model, inputs)
    for exit, logits in enumerate(expected):
        taken = ofr.deploy(model, ofr.always(exit))(inputs).logits
        torch.testing.assert_close(taken, logits, rtol=1e-4, atol=1e-5)
