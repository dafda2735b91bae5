"""Law 2: a stage that nobody needs does not run, nor does a head that no policy reads, and each sees just its rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import offramp as ofr
from offramp.criteria import GeometricEnsemble, Margin, MaxProbability, MinimumDepth, Patience, PerExit

INF = float("inf")

STAGE_ONLY = {
    "mlp": ["0", "2", "4"],
    "resnet": ["stem.0", "layer1.conv", "layer2.0.conv2", "fc"],
    "resnet cut in a residual": ["layer1.conv", "layer1.conv2", "fc"],
    "batch size in views": ["first", "second", "third"],
    "two inputs in a tuple": ["conv", "mix", "out"],
    "two inputs in a dict": ["conv", "out"],
    "transformer with a mask": ["layers.0.norm1", "layers.1.norm1", "layers.2.norm1"],
    "recurrent": ["lower", "upper", "out"],
}
"""For every tiny network a module of each stage, in order."""


@contextmanager
def rows_seen(modules: dict[str, nn.Module]) -> Iterator[dict[str, list[int]]]:
    """Number of rows of every call of these modules."""
    seen: dict[str, list[int]] = defaultdict(list)
    handles = []
    for name, module in modules.items():

        def note(_: nn.Module, inputs: tuple[torch.Tensor, ...], __: object, name: str = name) -> None:
            seen[name].append(inputs[0].shape[0])

        handles.append(module.register_forward_hook(note))
    fused = torch.backends.mha.get_fastpath_enabled()
    # The fused transformer layer calls none of its parts, so hooks on them would see nothing.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield seen
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for handle in handles:
            handle.remove()


def probes(name: str, model: ofr.ExitModel) -> dict[str, nn.Module]:
    stages = {f"stage {k}": model.backbone.get_submodule(m) for k, m in enumerate(STAGE_ONLY[name])}
    return stages | {f"head {k}": head for k, head in enumerate(model.heads)}


def expected_rows(policy: ofr.Policy, exits: torch.Tensor, count: int) -> dict[str, list[int]]:
    """A stage runs for the rows that did not leave before it, once; an early head for the same rows where needed."""
    needed = policy.heads_needed(count - 1)
    found = {}
    for k in range(count):
        left = int((exits >= k).sum())
        if left:
            found[f"stage {k}"] = [left]
            if k < count - 1 and needed[k]:
                found[f"head {k}"] = [left]
    return found


@given(data=st.data(), rows=st.integers(1, 30), seed=st.integers(0, 10**6))
def test_stages_and_heads_run_for_exactly_the_rows_that_need_them(
    tiny, attached, any_policy, record_on, data, rows, seed
):
    policy = data.draw(any_policy(record_on(attached, tiny.batch(max(rows, 2), seed))))
    runtime = ofr.deploy(attached, policy)
    with rows_seen(probes(tiny.name, attached)) as seen:
        taken = runtime(tiny.batch(rows, seed))
    assert seen == expected_rows(policy, taken.exits, attached.exits)


def test_a_single_row_that_leaves_at_the_first_exit_runs_one_stage_and_one_head(tiny_resnet):
    model = tiny_resnet.attach()
    with rows_seen(probes("resnet", model)) as seen:
        ofr.deploy(model, ofr.Policy(MaxProbability(), [-INF, 0.5, 0.5]))(tiny_resnet.batch(1))
    assert seen == {"stage 0": [1], "head 0": [1]}


def test_closed_exits_run_no_head(tiny_resnet):
    model = tiny_resnet.attach()
    with rows_seen(probes("resnet", model)) as seen:
        ofr.deploy(model, ofr.Policy(MaxProbability(), [INF, -INF, INF]))(tiny_resnet.batch(3))
    assert seen == {"stage 0": [3], "stage 1": [3], "head 1": [3]}


def test_a_criterion_that_reads_earlier_logits_runs_the_heads_of_closed_exits_before_open_ones(
    tiny_resnet, soft_agreement
):
    model = tiny_resnet.attach()
    with rows_seen(probes("resnet", model)) as seen:
        ofr.deploy(model, ofr.Policy(soft_agreement, [INF, 2.0, INF]))(tiny_resnet.batch(3))
    assert [name for name in seen if name.startswith("head")] == ["head 0", "head 1"]


def test_an_ensemble_runs_the_heads_on_the_way_and_none_behind(tiny_resnet):
    model = tiny_resnet.attach()
    with rows_seen(probes("resnet", model)) as seen:
        ofr.deploy(model, ofr.Policy(GeometricEnsemble(), [INF, -INF, INF]))(tiny_resnet.batch(3))
    assert seen == {"stage 0": [3], "head 0": [3], "stage 1": [3], "head 1": [3]}
    with rows_seen(probes("resnet", model)) as seen:
        ofr.deploy(model, ofr.Policy(GeometricEnsemble(), [INF, INF, INF]))(tiny_resnet.batch(3))
    assert [name for name in seen if name.startswith("head")] == ["head 0", "head 1", "head 2"]


def test_exits_before_the_minimum_depth_run_no_head(tiny_resnet):
    model = tiny_resnet.attach()
    with rows_seen(probes("resnet", model)) as seen:
        ofr.deploy(model, ofr.Policy(MinimumDepth(MaxProbability(), depth=2), [-INF] * 3))(tiny_resnet.batch(3))
    assert [name for name in seen if name.startswith("head")] == ["head 2"]


def test_only_the_exits_that_read_earlier_logits_keep_earlier_heads_running(tiny_resnet):
    model = tiny_resnet.attach()
    policy = ofr.Policy(PerExit((Margin(), Patience(), Margin())), [INF, INF, 0.5])
    with rows_seen(probes("resnet", model)) as seen:
        ofr.deploy(model, policy)(tiny_resnet.batch(3))
    assert [name for name in seen if name.startswith("head")] == ["head 2"]


def test_always_runs_no_head_before_its_exit_and_no_stage_behind_it(tiny_resnet):
    model = tiny_resnet.attach()
    with rows_seen(probes("resnet", model)) as seen:
        ofr.deploy(model, ofr.always(1))(tiny_resnet.batch(5))
    assert seen == {"stage 0": [5], "stage 1": [5], "head 1": [5]}


def test_traversing_runs_what_is_asked_for_and_on_whom(tiny_resnet):
    model = tiny_resnet.attach()

    def visit(arrival: ofr.exit_model.Arrival) -> torch.Tensor:
        if arrival.exit == 0:
            assert seen == {"stage 0": [4]}
            arrival.logits()
            return torch.tensor([2, 0])
        return torch.tensor([], dtype=torch.long)

    with rows_seen(probes("resnet", model)) as seen:
        model.traverse(tiny_resnet.batch(4), visit)
    assert seen == {"stage 0": [4], "head 0": [4], "stage 1": [2]}
