"""One runtime serves many threads, and cutting a model in one thread does not disturb the others."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import torch

import offramp as ofr

THREADS = 8


@pytest.fixture(autouse=True)
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def all_at_once(calls: list[Callable[[], object]]) -> list[object]:
    """Results of calls that are started together, one thread each; an exception is a result too."""
    results: list[object] = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def work(i: int) -> None:
        barrier.wait()
        try:
            results[i] = calls[i]()
        except Exception as error:
            results[i] = error

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def policy_for(model: ofr.ExitModel, inputs: object) -> ofr.Policy:
    margin = ofr.criteria.Margin()
    with torch.no_grad():
        return ofr.Policy(margin, [float(margin.score(logits).median()) for logits in model(inputs)[:-1]])


def test_every_thread_gets_its_own_right_answers(tiny, attached):
    batches = [tiny.batch(3 + i, seed=i) for i in range(THREADS)]
    runtime = ofr.deploy(attached, policy_for(attached, batches[-1]))
    alone = [runtime(batch) for batch in batches]
    for _ in range(5):
        together = all_at_once([lambda batch=batch: runtime(batch) for batch in batches])
        for got, expected in zip(together, alone, strict=True):
            assert isinstance(got, ofr.Decisions), got
            assert torch.equal(got.exits, expected.exits)
            assert torch.equal(got.logits, expected.logits)


def test_threads_may_ask_a_fresh_copy_for_its_stages_at_once(tiny_resnet):
    model = copy.deepcopy(tiny_resnet.attach())
    inputs = tiny_resnet.batch(4)
    with torch.no_grad():
        expected = model(inputs)[-1]

    def last_logits() -> torch.Tensor:
        found: list[torch.Tensor] = []
        with torch.no_grad():
            model.traverse(inputs, lambda arrival: found.append(arrival.logits()))
        return found[-1]

    for got in all_at_once([last_logits] * THREADS):
        assert isinstance(got, torch.Tensor), got
        torch.testing.assert_close(got, expected)


def test_attaching_in_one_thread_leaves_running_models_in_others_alone(tiny_resnet, tiny_mlp):
    serving, inputs = tiny_resnet.attach(), tiny_resnet.batch(3)
    runtime = ofr.deploy(serving, ofr.always(3))
    expected = runtime(inputs).logits
    serve = [lambda: [runtime(inputs).logits for _ in range(20)]] * 3

    def again() -> ofr.ExitModel:
        return ofr.attach(serving.backbone, at=["layer1"], example=inputs)

    for got in all_at_once([*serve, tiny_mlp.attach, again]):
        assert not isinstance(got, Exception), got
        if isinstance(got, list):
            assert all(torch.equal(logits, expected) for logits in got)


def test_attaching_in_many_threads_puts_the_settings_of_torch_back(tiny_mlp):
    def attach() -> ofr.ExitModel:
        return ofr.attach(tiny_mlp.build(), at=list(tiny_mlp.cuts), example=tiny_mlp.batch(2))

    call = torch.nn.Module.__call__
    costs = {model.cost for model in all_at_once([attach] * THREADS)}
    assert costs == {attach().cost}
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.nn.Module.__call__ is call


class Gate(torch.nn.Module):
    """Holds the first thread that comes through until another one has gone all the way."""

    def __init__(self) -> None:
        super().__init__()
        self.held: int | None = None
        self.inside, self.may_go = threading.Event(), threading.Event()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.held == threading.get_ident():
            self.inside.set()
            assert self.may_go.wait(timeout=30)
        return x


def test_a_forward_pass_in_another_thread_does_not_overwrite_logits_already_collected():
    gate = Gate()
    backbone = torch.nn.Sequential(torch.nn.Linear(4, 8), gate, torch.nn.Linear(8, 3))
    mine, others = torch.ones(2, 4), -torch.ones(2, 4)
    model = ofr.attach(backbone, at=["0"], example=mine).eval()
    expected = model(mine)[0]

    def held() -> torch.Tensor:
        gate.held = threading.get_ident()
        return model(mine)[0]

    def passing() -> None:
        assert gate.inside.wait(timeout=30)
        model(others)
        gate.may_go.set()

    got, error = all_at_once([held, passing])
    assert error is None
    assert torch.equal(got, expected)


def test_forward_passes_of_one_model_in_many_threads_keep_their_logits_apart(tiny_resnet):
    model = tiny_resnet.attach()
    batches = [tiny_resnet.batch(2, seed=i) for i in range(THREADS)]

    def logits_of(batch: torch.Tensor) -> list[torch.Tensor]:
        with torch.no_grad():
            return model(batch)

    alone = [logits_of(batch) for batch in batches]
    together = all_at_once([lambda batch=batch: logits_of(batch) for batch in batches])
    for got, expected in zip(together, alone, strict=True):
        assert isinstance(got, list), got
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
