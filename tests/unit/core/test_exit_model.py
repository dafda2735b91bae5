"""The ExitModel: its forward pass, its stages, and what happens when the backbone changes under it."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import offramp as ofr
from offramp.errors import InputError

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def walked(model: ofr.ExitModel, inputs: object) -> list[Tensor]:
    """Logits of every exit by way of the stages."""
    found: list[Tensor] = []
    with torch.no_grad():
        model.traverse(inputs, lambda arrival: found.append(arrival.logits()))
    return found


def assert_stages_agree(model: ofr.ExitModel, inputs: object) -> None:
    with torch.no_grad():
        expected = model(inputs)
    for got, wanted in zip(walked(model, inputs), expected, strict=True):
        torch.testing.assert_close(got, wanted)


def test_what_it_says_about_itself(tiny, attached):
    assert attached.exits == len(tiny.cuts) + 1
    assert attached.cuts == tiny.cuts
    assert attached.num_classes == 4
    assert attached.device == torch.device("cpu")
    assert len(attached.stages()) == attached.exits
    assert [stage.name for stage in attached.stages()] == [*tiny.cuts, "output"]


def test_forward_gives_every_exits_logits_earliest_first(tiny, attached):
    logits = attached(tiny.batch(5))
    assert [list(z.shape) for z in logits] == [[5, 4]] * attached.exits


def test_forward_takes_the_backbones_own_arguments(tiny, attached):
    inputs = tiny.batch(3)
    args, kwargs = ofr.backbones.arguments(inputs)
    for a, b in zip(attached(inputs), attached(*args, **kwargs), strict=True):
        assert torch.equal(a, b)


def test_the_stages_give_what_the_forward_pass_gives(tiny, attached):
    assert_stages_agree(attached, tiny.batch(5, seed=9))


def test_the_stages_own_nothing(tiny):
    model = tiny.attach()
    model.stages()
    assert {name.split(".")[0] for name in model.state_dict()} == {"backbone", "heads"}
    own = {id(p) for p in model.parameters()}
    assert all(id(p) in own for stage in model.stages() for p in stage.parameters())


def test_training_the_model_trains_the_stages(tiny):
    model = tiny.attach()
    before = walked(model, tiny.batch(4))[-1]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    sum(z.logsumexp(1).sum() for z in model(tiny.batch(4))).backward()
    optimizer.step()
    assert not torch.equal(walked(model, tiny.batch(4))[-1], before)
    assert_stages_agree(model, tiny.batch(4))


def test_a_dict_may_be_filled_in_any_order():
    class Difference(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 8)
            self.out = nn.Linear(8, 3)

        def forward(self, plus: Tensor, minus: Tensor) -> Tensor:
            return self.out(self.first(plus - minus))

    model = ofr.attach(Difference(), at=["first"], example={"plus": X, "minus": 2 * X}).eval()
    runtime = ofr.deploy(model, ofr.always(1))
    one_way, other_way = {"plus": X, "minus": X.flip(0)}, {"minus": X.flip(0), "plus": X}
    assert torch.equal(runtime(one_way).logits, runtime(other_way).logits)
    assert not torch.equal(runtime(one_way).logits, runtime({"plus": X.flip(0), "minus": X}).logits)


@pytest.mark.parametrize(
    "output",
    [
        lambda z, h: z,
        lambda z, h: (z, h),
        lambda z, h: {"features": h, "logits": z},
        lambda z, h: Output(hidden=h, logits=z),
    ],
    ids=["tensor", "first of a tuple", "a dict's logits", "a dataclass's logits"],
)
def test_where_a_backbones_output_holds_its_logits(output):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 8)
            self.out = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> object:
            hidden = self.first(x)
            return output(self.out(hidden), hidden)

    model = ofr.attach(Net(), at=["first"], example=X).eval()
    assert model.num_classes == 3
    assert_stages_agree(model, X)
    assert torch.equal(model(X)[-1], model.backbone.out(model.backbone.first(X)))


@dataclass
class Output:
    hidden: Tensor
    logits: Tensor


def test_a_head_that_passes_its_input_on_is_not_overwritten_by_what_runs_behind_it():
    backbone = nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True), nn.Linear(3, 3))
    for head in (nn.Identity(), nn.Flatten()):
        model = ofr.attach(copy.deepcopy(backbone), at=["0"], example=X, head=head).eval()
        expected = backbone[0](X)
        assert bool((expected < 0).any())
        assert torch.equal(model(X)[0], expected)
        assert_stages_agree(model, X)


def test_a_replaced_layer_is_noticed():
    model = ofr.attach(mlp(), at=["1"], example=X).eval()
    model.backbone[2] = nn.Linear(8, 8)
    assert_stages_agree(model, X)


def test_a_replaced_container_is_noticed():
    backbone = nn.Sequential(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), nn.Linear(8, 3))
    model = ofr.attach(backbone, at=["0.0"], example=X).eval()
    backbone[0] = nn.Sequential(nn.Linear(4, 8), nn.Tanh())
    assert_stages_agree(model, X)


def test_an_added_layer_is_noticed():
    model = ofr.attach(mlp(), at=["1"], example=X).eval()
    model.backbone.append(nn.Linear(3, 3))
    assert_stages_agree(model, X)


class Scaled(nn.Module):
    """Uses a buffer and a parameter in its own forward, behind the cut."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.out = nn.Linear(8, 3)
        self.register_buffer("scale", torch.full((8,), 2.0))
        self.shift = nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.first(x) * self.scale + self.shift)


def test_a_replaced_buffer_is_noticed():
    model = ofr.attach(Scaled(), at=["first"], example=X).eval()
    before = walked(model, X)
    stages = model.stages()
    assert model.stages() is stages
    model.backbone.scale = torch.full((8,), -3.0)
    assert_stages_agree(model, X)
    assert not torch.equal(walked(model, X)[-1], before[-1])
    assert model.stages() is not stages


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_another_dtype_moves_everything_the_example_included(dtype, tmp_path):
    model = ofr.attach(Scaled(), at=["first"], example=X).eval()
    walked(model, X)
    model.to(dtype)
    logits = walked(model, X.to(dtype))
    assert [z.dtype for z in logits] == [dtype, dtype]
    torch.testing.assert_close(logits[-1], model(X.to(dtype))[-1])
    model.save(tmp_path)
    again = ofr.ExitModel.load(tmp_path, Scaled().to(dtype)).eval()
    assert torch.equal(walked(again, X.to(dtype))[-1], logits[-1])


def test_another_dtype_leaves_integer_inputs_alone(tiny):
    model = tiny.attach().double()
    inputs = pytree.tree_map(lambda x: x.double() if x.is_floating_point() else x, tiny.batch(3))
    assert_stages_agree(model, inputs)


def test_evaluating_restores_each_mode():
    model = ofr.attach(mlp(), at=["1"], example=X).train()
    model.backbone[0].eval()
    flags = [m.training for m in model.modules()]
    with model.evaluating():
        assert not any(m.training for m in model.modules())
    assert [m.training for m in model.modules()] == flags


def test_evaluating_restores_after_an_error():
    model = ofr.attach(mlp(), at=["1"], example=X).train()
    with pytest.raises(KeyError), model.evaluating():
        raise KeyError
    assert all(m.training for m in model.modules())


def test_inputs_of_another_structure_are_refused_with_both():
    model = ofr.attach(mlp(), at=["1"], example=X).eval()
    with pytest.raises(InputError, match=r"\(\(tensor, tensor\), \{\}\).*\(\(tensor\), \{\}\).*attach again"):
        walked(model, (X, X))


def test_inputs_that_disagree_on_the_number_of_rows(tiny_pair):
    image, vector = tiny_pair.batch(4)
    with pytest.raises(InputError, match=r"must have 4 rows; one is a tensor of shape \[3, 2\]"):
        walked(tiny_pair.attach(), (image, vector[:3]))


def test_a_constant_input_must_be_the_examples():
    class Powered(Scaled):
        def forward(self, x: Tensor, power: int) -> Tensor:
            return self.out(self.first(x) ** power)

    model = ofr.attach(Powered(), at=["first"], example=(X, 2)).eval()
    assert_stages_agree(model, (X, 2))
    for other in (3, X):
        with pytest.raises(InputError, match=r"attached with int 2: attach it again"):
            walked(model, (X, other))


def test_an_empty_batch():
    model = ofr.attach(mlp(), at=["1"], example=X).eval()
    with pytest.raises(InputError, match=r"batch is empty.*\[0, 4\].*at least one row"):
        walked(model, X[:0])


def test_inputs_on_another_device():
    model = ofr.attach(mlp(), at=["1"], example=X).eval()
    with pytest.raises(InputError, match=r"\['meta'\].*model is on cpu.*to_own_device"):
        walked(model, X.to("meta"))


def test_to_own_device_moves_every_tensor_and_nothing_else():
    model = ofr.attach(mlp(), at=["1"], example=X)
    model.to("meta")
    moved = model.to_own_device({"x": X, "more": [X, 3]})
    assert moved["x"].device.type == moved["more"][0].device.type == "meta"
    assert moved["more"][1] == 3


def test_inputs_of_another_type():
    model = ofr.attach(mlp(), at=["1"], example=X).eval()
    with pytest.raises(InputError, match=r"torch\.float64, cpu\), the model takes torch\.float32: convert it"):
        walked(model, X.double())
    assert walked(model.double(), X.double())[0].dtype == torch.float64


def test_a_cut_that_does_not_run_for_some_inputs_is_named():
    class Skipping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 8)
            self.out = nn.Linear(8, 3)
            self.skip = False

        def forward(self, x: Tensor) -> Tensor:
            return self.out(nn.functional.pad(x, (0, 4)) if self.skip else self.first(x))

    model = ofr.attach(Skipping(), at=["first"], example=X)
    model.backbone.skip = True
    with pytest.raises(InputError, match=r"cuts \['first'\] did not run"):
        model(X)
