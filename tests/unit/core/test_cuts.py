"""Where a model can be cut, and the refusals: each names the value and what to do instead."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import offramp as ofr
from offramp.errors import AttachError, CutError, InputError

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


class Net(nn.Module):
    """Two linear layers with a subclass's own step between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.out = nn.Linear(8, 3)

    def between(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.between(self.first(x)))


class Branching(nn.Module):
    """Its forward depends on the values of a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.isfinite().all() else x


class Holding(Net):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def between(self, x: Tensor) -> Tensor:
        return self.inner(x)


def refused(backbone: nn.Module, at: object, example: object = X, **options: object) -> str:
    """The message with which attach refuses."""
    with pytest.raises(AttachError) as caught:
        ofr.attach(backbone, at=at, example=example, **options)
    return str(caught.value)


def test_unknown_name_gives_the_nearest_ones():
    message = refused(Net(), ["frist"])
    assert "Net has no submodule 'frist'" in message
    assert "'first'" in message
    assert "offramp inspect" in message


def test_the_model_itself_is_no_place():
    assert "no submodule ''" in refused(Net(), [""])


@pytest.mark.parametrize("at", ["first", 0.5, []], ids=repr)
def test_at_must_be_a_list_of_something(at):
    message = refused(Net(), at)
    assert f"at={at!r}" in message
    assert "a list of at least one" in message


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 1.5, float("nan"), 1, True, None], ids=repr)
def test_shares_lie_between_0_and_1(share):
    message = refused(mlp(), [share])
    assert repr(share) in message
    assert "between 0 and 1" in message


def test_identical_cuts():
    message = refused(mlp(), ["1", "1"])
    assert "two cuts are at '1'" in message
    assert "a place of its own" in message


def test_two_names_of_one_module_are_one_cut():
    class Twice(Net):
        def __init__(self) -> None:
            super().__init__()
            self.alias = self.first

    assert "two cuts are at 'first'" in refused(Twice(), ["first", "alias"])


def test_cuts_at_the_same_place():
    backbone = nn.Sequential(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), nn.Linear(8, 3))
    message = refused(backbone, ["0.1", "0"])
    assert "'0.1' and '0' are the same place" in message
    assert "Drop one" in message


def test_cuts_out_of_order_are_put_in_order_by_the_message():
    message = refused(mlp(), ["3", "1"])
    assert "'1' runs before '3'" in message
    assert "at=['1', '3']" in message


def test_a_module_that_never_runs():
    backbone = Holding(nn.Identity())
    backbone.spare = nn.Linear(4, 4)
    message = refused(backbone, ["spare"])
    assert "'spare'" in message
    assert "never runs" in message
    assert "offramp.inspect" in message


def test_a_module_that_runs_twice():
    class Twice(Net):
        def between(self, x: Tensor) -> Tensor:
            return self.shared(torch.relu(self.shared(x)))

    backbone = Twice()
    backbone.shared = nn.Linear(8, 8)
    message = refused(backbone, ["shared"])
    assert "'shared'" in message
    assert "runs 2 times" in message
    assert ofr.attach(backbone, at=["first"], example=X).exits == 2


def test_inside_a_module_that_no_tracing_can_follow_hooks_cut():
    chain = ofr.attach(Holding(Branching()), at=["inner.layer"], example=X).chain()
    assert chain.engine == "hooks"
    assert "'inner' (Branching) cannot be divided" in chain.refusals["spine"]
    assert "at='inner'" in chain.refusals["spine"]
    assert "data-dependent" in chain.refusals["export"]
    assert ofr.attach(Holding(Branching()), at=["inner"], example=X).chain().engine == "spine"


def test_a_model_whose_own_forward_branches_is_cut_by_hooks():
    class Root(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.first(x) if x.sum() < 1e6 else self.first(-x))

    chain = ofr.attach(Root(), at=["first"], example=X).chain()
    assert chain.engine == "hooks"
    assert chain.stages == ()
    assert "control flow" in chain.refusals["spine"]


def test_where_every_engine_refuses_all_reasons_and_a_place_are_given():
    class Shortcut(nn.Module):
        """Branches on data, and its shortcut passes the cut by."""

        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 8)
            self.inside = nn.Linear(8, 8)
            self.act = nn.ReLU()
            self.out = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            x = x + self.inside(x) if x.isfinite().all() else x
            return self.out(self.act(x))

    message = refused(Shortcut(), ["inside"])
    assert "Shortcut cannot be cut at ['inside']" in message
    assert "spine: its own forward cannot be traced" in message
    assert "export: torch.export cannot capture it" in message
    assert "hooks: it cannot be run" in message
    assert "can be cut is 'act'" in message or "can be cut is 'first'" in message
    assert ofr.attach(Shortcut(), at=["first", "act"], example=X).chain().engine == "hooks"


def test_a_carry_with_the_batch_in_another_dimension():
    class TimeFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 8)
            self.turned = nn.Identity()
            self.out = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.turned(self.first(x).transpose(0, 1))[-1])

    example = torch.randn(3, 5, 4)
    message = refused(TimeFirst(), ["turned"], example)
    assert "Cannot cut at 'turned'" in message
    assert "batch in dimension 1" in message
    assert "offramp.inspect" in message
    assert ofr.attach(TimeFirst(), at=["first"], example=example).exits == 2


def test_a_carry_that_merges_the_batch_with_another_dimension():
    class Merging(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 8)
            self.out = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.first(x.flatten(0, 1))).view(-1, 5, 3).mean(1)

    message = refused(Merging(), ["first"], torch.randn(3, 5, 4))
    assert "Cannot cut at 'first'" in message
    assert "merges the batch with another dimension" in message


@pytest.mark.parametrize("where", ["before the cut", "behind the cut"])
def test_a_model_that_mixes_the_rows_of_a_batch(where):
    class Mixing(Net):
        def forward(self, x: Tensor) -> Tensor:
            x = x - x.mean(0) if where == "before the cut" else x
            x = self.first(x)
            return self.out(x - x.mean(0) if where == "behind the cut" else x)

    message = refused(Mixing(), ["first"])
    assert "Mixing" in message
    assert "mixes the rows" in message


def test_values_that_cross_a_cut_and_share_memory_need_export():
    """It makes operations in place ones that are not."""

    class Sharing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 8)
            self.middle = nn.Linear(8, 8)
            self.out = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            view = x.view(-1, 2, 4)
            y = self.middle(x)
            x.relu_()  # changes the view too, unless rows have left and both were copied
            return self.out(y + view.flatten(1))

    chain = ofr.attach(Sharing(), at=["middle"], example=X).chain()
    assert chain.engine == "export"
    assert "share memory" in chain.refusals["spine"]
    assert ofr.attach(Sharing(), at=["first"], example=X).chain().engine == "spine"


def test_a_model_that_draws_random_numbers():
    class Noisy(Net):
        def between(self, x: Tensor) -> Tensor:
            return x + torch.rand_like(x)

    message = refused(Noisy(), ["first"])
    assert "Noisy" in message
    assert "random numbers" in message


def test_a_model_that_keeps_state():
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return x + self.calls

    message = refused(Holding(Counting()), ["first"])
    assert "keeps state from call to call" in " ".join(message.split())


def test_a_cut_whose_output_is_the_same_for_every_batch():
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.positions = nn.Embedding(5, 4)
            self.out = nn.Linear(4, 3)
            self.register_buffer("ids", torch.arange(5))

        def forward(self, x: Tensor) -> Tensor:
            return self.out((x + self.positions(self.ids)).mean(1))

    example = torch.randn(2, 5, 4)
    message = refused(Positions(), ["positions"], example)
    assert "'positions'" in message
    assert "same for every batch" in message
    assert "same for every batch" in ofr.inspect(Positions(), example)[0].refused


def test_a_cut_that_returns_no_tensor():
    class Five(nn.Module):
        def forward(self, x: Tensor) -> int:
            return 5

    class Scaled(Net):
        def between(self, x: Tensor) -> Tensor:
            return x * self.factor(x)

    backbone = Scaled()
    backbone.factor = Five()
    assert "no tensor" in refused(backbone, ["factor"])


def test_an_exit_model_gets_no_exits_again():
    message = refused(ofr.attach(mlp(), at=["1"], example=X), ["backbone.3"])
    assert "already has exits" in message
    assert ".backbone" in message


def test_outputs_must_be_logits():
    message = refused(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Unflatten(1, (2, 3))), ["0"])
    assert "logits [n, classes]" in message
    assert "[2, 2, 3]" in message


def test_a_single_logit_is_refused():
    message = refused(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1)), ["0"])
    assert "1 logit" in message
    assert "two logits" in message


def test_the_number_of_classes_must_fit():
    message = refused(mlp(), ["1"], num_classes=10)
    assert "num_classes=10" in message
    assert "3 classes" in message


@pytest.mark.parametrize("example", [5, None, (), {}, torch.tensor(1.0)], ids=repr)
def test_an_example_without_rows(example):
    with pytest.raises(InputError, match="no tensor with a batch dimension"):
        ofr.attach(mlp(), at=["1"], example=example)


def test_an_empty_example():
    with pytest.raises(InputError, match=r"batch is empty.*\[0, 4\].*at least one row"):
        ofr.attach(mlp(), at=["1"], example=torch.zeros(0, 4))


def test_cut_errors_are_attach_errors_and_value_errors():
    assert issubclass(CutError, AttachError)
    assert issubclass(AttachError, ValueError)
    assert issubclass(AttachError, ofr.errors.OfframpError)
