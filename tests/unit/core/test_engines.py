"""What each way of cutting does and refuses, and which of them is taken."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

import offramp as ofr
from offramp.errors import CutError, InputError

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


class Counted(nn.Linear):
    """Counts the rows that it was given."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.rows: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        return super().forward(x)


class Branching(nn.Module):
    """Only hooks can cut it: its path depends on values. `mask` is handed to every layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.second = Gated()
        self.third = Gated()
        self.out = Counted(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        mask = (x > 0).any(1, keepdim=True)
        x = self.first(x)
        if x.isfinite().all():
            x = self.second(x, mask=mask)
        return self.out(self.third(x, mask))


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return torch.tanh(self.linear(x)) * mask


@dataclass
class Output:
    """Of a class that torch has never heard of."""

    extra: dict[str, Tensor]
    logits: Tensor


class Structured(nn.Module):
    """Modules that return dicts, tuples and dataclasses, and control flow that stops the spine or all tracing."""

    def __init__(self, data: bool) -> None:
        super().__init__()
        self.data = data
        self.inner = Pair()
        self.last = Wrapping()

    def forward(self, x: Tensor) -> Output:
        if x.isfinite().all() if self.data else x.shape[0] > 0:
            pair = self.inner(x)
        return self.last(pair)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 8)

    def forward(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        return {"state": self.linear(x)}, x


class Wrapping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 3)

    def forward(self, pair: tuple[dict[str, Tensor], Tensor]) -> Output:
        state, x = pair
        return Output({"x": x}, self.linear(torch.cat([state["state"], x], 1)))


def hooked() -> ofr.ExitModel:
    return ofr.attach(Branching(), at=["first", "second"], example=X).eval()


def keep(*kept: list[int] | None):
    """A visitor that lets these rows go on at each cut, and what it saw."""
    seen: list[Tensor] = []

    def visit(arrival) -> Tensor | None:
        seen.append(arrival.logits())
        wanted = kept[arrival.exit] if arrival.exit < len(kept) else None
        return None if wanted is None else torch.tensor(wanted, dtype=torch.long)

    return visit, seen


def test_rows_leave_through_hooks_and_arguments_follow():
    model = hooked()
    assert model.chain().engine == "hooks"
    with torch.no_grad():
        expected = model(X)
        visit, seen = keep([0, 2, 3, 5], [1, 3])
        model.traverse(X, visit)
    assert torch.equal(seen[0], expected[0])
    torch.testing.assert_close(seen[1], expected[1][[0, 2, 3, 5]])
    torch.testing.assert_close(seen[2], expected[2][[2, 5]])


def test_nothing_runs_for_nobody_under_hooks():
    model = hooked()
    out: Counted = model.backbone.out
    out.rows.clear()
    visit, seen = keep([0, 1, 2], [])
    model.traverse(X, visit)
    assert len(seen) == 2
    assert out.rows == []
    visit, seen = keep([0, 1, 2], None)
    model.traverse(X, visit)
    assert out.rows == [3]


def test_a_model_that_catches_exceptions_is_stopped_all_the_same():
    class Careful(Branching):
        def forward(self, x: Tensor) -> Tensor:
            try:
                return super().forward(x)
            except Exception:
                return self.out(torch.zeros(len(x), 8))

    model = ofr.attach(Careful(), at=["first"], example=X).eval()
    model.backbone.out.rows.clear()
    model.traverse(X, keep([])[0])
    assert model.backbone.out.rows == []


def test_hooks_leave_no_hook_behind_even_when_a_visitor_fails():
    model = hooked()

    def fail(arrival) -> None:
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        model.traverse(X, fail)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_under_hooks_rows_keep_their_order():
    with pytest.raises(InputError, match="keep them in order"):
        hooked().traverse(X, keep([5, 4, 3, 2, 1, 0])[0])


def test_another_thread_does_not_see_the_hooks():
    model = hooked()
    with torch.no_grad():
        expected, plain = model(X)[-1], []

        def visit(arrival) -> Tensor | None:
            other = threading.Thread(target=lambda: plain.append(model.backbone(X).detach()))
            other.start()
            other.join()
            return torch.tensor([0])

        model.traverse(X, visit)
    assert len(plain) == 3
    for logits in plain:
        torch.testing.assert_close(logits, expected)


def test_without_stages_only_the_eager_runtime_works():
    model = hooked()
    assert model.stages() == ()
    assert ofr.deploy(model, ofr.always(0))(X).exits.tolist() == [0] * 6
    with pytest.raises(CutError, match=r"cut by hooks.*eager backend"):
        ofr.deploy(model, ofr.always(0)).staged()


@pytest.mark.parametrize(("data", "engine"), [(False, "export"), (True, "hooks")])
def test_dicts_tuples_and_unknown_dataclasses_come_and_go(data, engine):
    model = ofr.attach(Structured(data), at=["inner"], example=X).eval()
    assert model.chain().engine == engine
    with torch.no_grad():
        expected = model(X)[-1]
        visit, seen = keep([1, 4])
        model.traverse(X, visit)
    torch.testing.assert_close(seen[1], expected[[1, 4]])


def test_a_module_replaced_under_an_exported_model_is_noticed():
    model = ofr.attach(Structured(False), at=["inner"], example=X).eval()
    chain = model.chain()
    assert model.chain() is chain
    model.backbone.last.linear = nn.Linear(12, 3)
    assert model.chain() is not chain
    with torch.no_grad():
        taken = ofr.deploy(model, ofr.always(1))(X).logits
        torch.testing.assert_close(taken, model(X)[-1])


@pytest.mark.parametrize("build", [lambda: Structured(False), lambda: Structured(True)], ids=["export", "hooks"])
def test_another_type_divides_the_model_again(build):
    model = ofr.attach(build(), at=["inner"], example=X).eval().double()
    assert model.chain().signature.leaves[0].dtype == torch.float64
    assert ofr.deploy(model, ofr.always(1))(X.double()).logits.dtype == torch.float64


def test_trying_engines_leaves_flags_hooks_and_random_state():
    backbone = Branching().train()
    backbone.third.eval()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    ofr.attach(backbone, at=["first"], example=X)
    assert torch.equal(torch.rand(2), expected)
    assert [m.training for m in (backbone, backbone.first, backbone.third)] == [True, True, False]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in backbone.modules())


def test_shared_modules_and_tied_weights():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4)
            self.tied = nn.Linear(4, 4)
            self.tied.weight = self.first.weight
            self.twice = nn.Linear(4, 4)
            self.again = self.twice
            self.out = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.twice(torch.tanh(self.first(x)))
            x = x if x.shape[0] > 0 else -x
            return self.out(self.again(torch.tanh(self.tied(x))))

    backbone = Shared()
    model = ofr.attach(backbone, at=["first", "tied"], example=X).eval()
    assert model.chain().engine == "export"
    with torch.no_grad():
        backbone.first.weight.mul_(3)
        expected = model(X)
        for exit in range(3):
            torch.testing.assert_close(ofr.deploy(model, ofr.always(exit))(X).logits, expected[exit])
    with pytest.raises(CutError, match="runs 2 times"):
        ofr.attach(backbone, at=["twice"], example=X)


def test_a_model_that_only_runs_at_its_own_batch_size():
    class Fixed(Branching):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.view(6, 4))

    with pytest.raises(CutError, match=r"Fixed cannot be run on 7 rows.*any number of them"):
        ofr.attach(Fixed(), at=["first"], example=X)


def test_a_batch_that_is_not_first():
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 8)
            self.out = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.first(x).cumsum(0))

    with pytest.raises(CutError, match="first dimension of its inputs is not the batch"):
        ofr.attach(Last(), at=["first"], example=torch.randn(5, 2, 4))


@pytest.mark.parametrize("hidden", ["export", "hooks"])
def test_state_and_mixing_are_told_as_such_whatever_would_cut(hidden):
    class Stateful(Structured):
        def forward(self, x: Tensor) -> Output:
            self.calls = getattr(self, "calls", 0) + 1
            return super().forward(x * self.calls)

    class Mixing(Structured):
        def forward(self, x: Tensor) -> Output:
            return super().forward(x - x.mean(0))

    with pytest.raises(CutError, match="keeps state") as state:
        ofr.attach(Stateful(hidden == "hooks"), at=["inner"], example=X)
    with pytest.raises(CutError, match="mixes the rows") as mixing:
        ofr.attach(Mixing(hidden == "hooks"), at=["inner"], example=X)
    assert "export:" not in f"{state.value}{mixing.value}"


def test_an_output_without_rows_is_no_logits():
    class Loss(Branching):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).sum()

    with pytest.raises(ofr.errors.AttachError, match=r"must be logits \[n, classes\]; for 7 rows it is \[\]"):
        ofr.attach(Loss(), at=["first"], example=X)


def test_training_mode_takes_no_exits():
    model = hooked()
    runtime = ofr.deploy(model, ofr.always(0))
    model.train()
    with pytest.raises(InputError, match=r"model\.eval\(\)"):
        runtime(X)
