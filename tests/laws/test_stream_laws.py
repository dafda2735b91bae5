"""A stream decides as the runtime does: however rows are divided into requests, and whoever submits them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils import _pytree as pytree

import offramp as ofr

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
CLIENTS = 8


@pytest.fixture(autouse=True)
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def rows_of(inputs: object, start: int, stop: int) -> object:
    return pytree.tree_map(lambda x: x[start:stop], inputs)


def joined(answers: list[ofr.Decisions]) -> ofr.Decisions:
    logits, exits, macs = (torch.cat([getattr(a, name) for a in answers]) for name in ("logits", "exits", "macs"))
    return ofr.Decisions(logits, exits, answers[0].exit_count, macs)


def assert_same(got: ofr.Decisions, expected: ofr.Decisions, clear: torch.Tensor) -> None:
    """But for rows with a score at its threshold, where rounding decides."""
    assert torch.equal(got.exits[clear], expected.exits[clear])
    assert torch.equal(got.macs[clear], expected.macs[clear])
    torch.testing.assert_close(got.logits[clear], expected.logits[clear], **CLOSE)


@given(
    data=st.data(),
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=12),
    target=st.integers(1, 12),
    in_flight=st.none() | st.integers(1, 30),
    seed=st.integers(0, 10**6),
)
def test_rows_are_decided_alike_however_they_are_divided_into_requests(
    tiny, attached, any_policy, record_on, far_from_thresholds, data, sizes, target, in_flight, seed
):
    inputs = tiny.batch(sum(sizes), seed)
    recording = record_on(attached, inputs)
    policy = data.draw(any_policy(recording))
    ends = torch.tensor(sizes).cumsum(0).tolist()
    requests = [rows_of(inputs, end - size, end) for size, end in zip(sizes, ends, strict=True)]
    answers = list(ofr.deploy(attached, policy).stream(requests, target=target, in_flight=in_flight))
    assert [len(a) for a in answers] == sizes
    assert_same(joined(answers), ofr.simulate(recording, policy), far_from_thresholds(recording, policy))


@given(data=st.data(), target=st.integers(1, 8), seed=st.integers(0, 10**6))
def test_a_stream_with_deadlines_decides_alike(
    tiny_resnet, any_policy, record_on, far_from_thresholds, data, target, seed
):
    model, inputs = tiny_resnet.attach(), tiny_resnet.batch(20, seed)
    recording = record_on(model, inputs)
    policy = data.draw(any_policy(recording))
    requests = [rows_of(inputs, i, i + 2) for i in range(0, 20, 2)]
    answers = list(ofr.deploy(model, policy).stream(requests, target=target, max_wait=5.0))
    assert_same(joined(answers), ofr.simulate(recording, policy), far_from_thresholds(recording, policy))


@pytest.mark.parametrize("max_wait", [None, 5.0])
def test_eight_clients_of_one_stream_get_their_own_right_answers(tiny, attached, max_wait):
    margin = ofr.criteria.Margin()
    with torch.no_grad():
        thresholds = [float(margin.score(logits).quantile(0.51)) for logits in attached(tiny.batch(99))[:-1]]
    runtime = ofr.deploy(attached, ofr.Policy(margin, thresholds))
    requests = [[tiny.batch(1 + (c + i) % 3, seed=100 * c + i) for i in range(15)] for c in range(CLIENTS)]
    answers: list[list[ofr.Decisions]] = [[] for _ in range(CLIENTS)]
    start = threading.Barrier(CLIENTS)

    with runtime.serve(target=4, max_wait=max_wait) as stream:

        def work(client: int) -> None:
            start.wait()
            futures = [stream.submit(inputs) for inputs in requests[client]]
            answers[client] = [future.result(timeout=60) for future in futures]

        clients = [threading.Thread(target=work, args=(c,)) for c in range(CLIENTS)]
        for client in clients:
            client.start()
        # The runtime serves its own callers meanwhile.
        alone = [[runtime(inputs) for inputs in mine] for mine in requests]
        for client in clients:
            client.join()
    for got, expected in zip(chain(*answers), chain(*alone), strict=True):
        assert torch.equal(got.exits, expected.exits)
        torch.testing.assert_close(got.logits, expected.logits, **CLOSE)


def test_earlier_logits_travel_with_their_rows(tiny_mlp, record_on, soft_agreement):
    model = tiny_mlp.attach()
    inputs = tiny_mlp.batch(60, seed=5)
    recording = record_on(model, inputs)
    first = soft_agreement.score(recording.logits[0])
    second = soft_agreement.score(recording.logits[1], [recording.logits[0]])
    policy = ofr.Policy(soft_agreement, [float(first.median()), float(second.median())])
    requests = [rows_of(inputs, i, i + 1) for i in range(60)]
    taken = joined(list(ofr.deploy(model, policy).stream(requests, target=7)))
    simulated = ofr.simulate(recording, policy)
    assert simulated.exits.unique().tolist() == [0, 1, 2]
    assert torch.equal(taken.exits, simulated.exits)
