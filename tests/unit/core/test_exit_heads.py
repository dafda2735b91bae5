"""Building the heads that attach asks for, and refusing those that do not fit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import offramp as ofr
from offramp.errors import AttachError
from offramp.heads import AvgPoolLinear, BranchConv, PooledLinear, SdnPool, StridedConv
from offramp.heads.sdn_pool import windows

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


def attach(head: object, backbone: nn.Module | None = None, **options: object) -> ofr.ExitModel:
    return ofr.attach(backbone or mlp(), at=["1", "3"], example=X, head=head, **options)


def refused(head: object) -> str:
    with pytest.raises(AttachError) as caught:
        attach(head)
    return str(caught.value)


def test_a_name_a_class_a_function_and_a_list_of_modules():
    assert isinstance(attach("pooled_linear").heads[1], PooledLinear)
    assert isinstance(attach(PooledLinear).heads[1], PooledLinear)
    assert isinstance(attach(lambda features, classes: nn.Linear(features.shape[1], classes)).heads[0], nn.Linear)
    own = [nn.Linear(8, 3), nn.Sequential(nn.Linear(8, 3))]
    assert list(attach(own).heads) == own
    assert [type(h).__name__ for h in attach(["pooled_linear", nn.Linear(8, 3)]).heads] == ["PooledLinear", "Linear"]


def test_unknown_name():
    message = refused("poled_linear")
    assert "no exit head 'poled_linear'" in message
    assert "'pooled_linear'" in message


def test_neither_name_nor_module_nor_function():
    message = refused(5)
    assert "head=5" in message
    assert "pooled_linear, sdn_pool, strided_conv" in message


def test_wrong_number_of_heads():
    message = refused([nn.Linear(8, 3)])
    assert "1 heads for 2 cuts ['1', '3']" in message
    assert "one per cut" in message


def test_one_module_for_two_cuts():
    shared = nn.Linear(8, 3)
    for head in (shared, [shared, shared]):
        assert "cannot serve several cuts" in refused(head)


def test_a_head_with_the_wrong_width_says_where_and_on_what():
    message = refused([nn.Linear(8, 3), nn.Linear(9, 3)])
    assert "Linear fails at '3' on [2, 8]" in message


@pytest.mark.parametrize(
    ("head", "shape"),
    [
        (lambda features, classes: nn.Linear(8, 5), "[2, 5]"),
        (lambda features, classes: nn.Unflatten(1, (2, 4)), "[2, 2, 4]"),
        (lambda features, classes: nn.LSTM(8, 3), "tuple"),
    ],
)
def test_a_head_that_gives_another_shape(head, shape):
    message = refused(head)
    assert f"gives {shape} for features [2, 8]" in message
    assert "must give [2, 3]" in message


def test_a_head_that_mixes_rows():
    class Mixing(PooledLinear):
        def forward(self, features: Tensor) -> Tensor:
            return super().forward(features - features.mean(0))

    message = refused(lambda features, classes: Mixing(8, classes))
    assert "Mixing at '1'" in message
    assert "mixes the rows" in message


def test_sdn_pool_needs_maps_and_says_what_to_use():
    message = refused("sdn_pool")
    assert "the cut has [2, 8]" in message
    assert "head='pooled_linear'" in message


def test_pooled_linear_needs_a_width():
    with pytest.raises(AttachError, match=r"\[n, width, \.\.\.\].*\[5\]"):
        PooledLinear.for_features(torch.zeros(5), 3)


def test_widths_are_inferred():
    assert PooledLinear.for_features(torch.zeros(2, 5), 3).linear.in_features == 5
    assert PooledLinear.for_features(torch.zeros(2, 7, 5), 3).linear.in_features == 5
    assert PooledLinear.for_features(torch.zeros(2, 5, 7, 6), 3).linear.in_features == 5
    assert PooledLinear.for_features(torch.zeros(2, 5, 7, 6, 4), 3).linear.in_features == 5
    assert SdnPool.for_features(torch.zeros(2, 5, 7, 3), 3).linear.in_features == 5 * 4 * 3


def test_pooled_linear_is_the_mean_then_linear():
    head, maps = PooledLinear(5, 3), torch.randn(2, 5, 4, 6)
    torch.testing.assert_close(head(maps), head.linear(maps.mean((2, 3))))
    tokens = torch.randn(2, 7, 5)
    torch.testing.assert_close(head(tokens), head.linear(tokens.mean(1)))


def test_sdn_pool_starts_with_an_even_mix_of_both_poolings():
    head, maps = SdnPool(1, (1, 1), 2), torch.tensor([[[[1.0, 3.0]]]])
    torch.testing.assert_close(head(maps), head.linear(torch.tensor([[(3.0 + 2.0) / 2]])))
    with torch.no_grad():
        head.mix.fill_(50.0)
    torch.testing.assert_close(head(maps), head.linear(torch.tensor([[3.0]])))


def test_weights_come_from_the_seed_alone():
    torch.manual_seed(1)
    a = attach("pooled_linear", seed=4).heads.state_dict()
    torch.manual_seed(2)
    b, c = attach("pooled_linear", seed=4).heads.state_dict(), attach("pooled_linear", seed=5).heads.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not any(torch.equal(a[name], c[name]) for name in a)


def test_heads_of_one_model_differ():
    first, second = attach("pooled_linear").heads
    assert not torch.equal(first.linear.weight, second.linear.weight)


def test_the_backbones_own_initialisation_is_used():
    class Initialising(nn.Sequential):
        def _init_weights(self, module: nn.Module) -> None:
            if isinstance(module, nn.Linear):
                nn.init.constant_(module.weight, 0.25)

    model = attach("pooled_linear", Initialising(*mlp()))
    assert torch.equal(model.heads[0].linear.weight, torch.full((3, 8), 0.25))
    assert not torch.equal(model.backbone[0].weight, torch.full((8, 4), 0.25))


def test_an_initialisation_without_arguments_is_left_alone():
    class Initialising(nn.Sequential):
        def _init_weights(self) -> None:
            raise AssertionError("this would draw the backbone's weights again")

    assert attach("pooled_linear", Initialising(*mlp())).exits == 3


@pytest.mark.parametrize("training", [True, False])
def test_heads_get_the_backbones_dtype_and_mode(training):
    model = ofr.attach(mlp().double().train(training), at=["1"], example=X.double())
    assert model.heads[0].linear.weight.dtype == torch.float64
    assert {m.training for m in model.modules()} == {training}


def test_a_module_of_ones_own_keeps_its_weights():
    own = nn.Linear(8, 3)
    before = own.weight.clone()
    assert torch.equal(attach([own, "pooled_linear"]).heads[0].weight, before)


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (4, 12), (3, 2), (1, 1)])
@pytest.mark.parametrize("mix", [-50.0, 50.0])
def test_sdn_pooling_is_the_adaptive_one_where_sizes_divide(size, mix):
    images = torch.randn(3, 2, *size, generator=torch.Generator().manual_seed(0))
    head = SdnPool.for_features(images, 5)
    head.mix.data.fill_(mix)  # all average, or all maximum
    pool = torch.nn.functional.adaptive_max_pool2d if mix > 0 else torch.nn.functional.adaptive_avg_pool2d
    torch.testing.assert_close(head(images), head.linear(pool(images, head.pooled).flatten(1)))


@pytest.mark.parametrize("length", range(4, 40))
def test_sdn_windows_cover_the_map_from_end_to_end(length):
    size, distance = windows(length, 4)
    assert 3 * distance + size == length
    assert size >= distance  # no pixel is left out


@pytest.mark.parametrize("name", ["avg_pool_linear", "strided_conv", "branch_conv"])
def test_convolutional_heads_need_maps_and_say_what_to_use(name):
    message = refused(name)
    assert f"{name} " in message
    assert "the cut has [2, 8]" in message
    assert "head='pooled_linear'" in message


@pytest.mark.parametrize("size", [(56, 56), (9, 8), (3, 2), (1, 1), (7, 4)])
def test_convolutional_heads_fit_any_size(size):
    maps = torch.randn(2, 5, *size)
    for head in (AvgPoolLinear, StridedConv, BranchConv):
        assert head.for_features(maps, 3)(maps).shape == (2, 3)


def test_settings_build_the_same_head_again():
    maps = torch.randn(2, 5, 9, 8)
    for kind in (StridedConv, BranchConv):
        head = kind.for_features(maps, 3, channels=4)
        again = kind.for_features(maps, 3, **head.settings())
        again.load_state_dict(head.state_dict())
        assert torch.equal(again(maps), head(maps))


def test_averages_in_windows_of_three():
    head, maps = AvgPoolLinear(1, (6, 7), 2), torch.arange(42.0).view(1, 1, 6, 7)
    means = torch.stack([maps[0, 0, i : i + 3, j : j + 3].mean() for i in (0, 3) for j in (0, 3)])
    torch.testing.assert_close(head(maps), head.linear(means[None]))


@pytest.mark.parametrize("shape", [(5, 4), (5, 7, 4), (5, 4, 3), (5, 4, 6, 6), (5, 4, 2, 3, 3)])
def test_pooling_is_the_same_in_training_and_its_gradient_too(shape):
    torch.manual_seed(0)
    head = PooledLinear.for_features(torch.zeros(shape), 3)
    features = torch.randn(shape, requires_grad=True)
    found = [torch.autograd.grad(head.train(mode)(features).square().sum(), features)[0] for mode in (True, False)]
    torch.testing.assert_close(head.train()(features), head.eval()(features))
    torch.testing.assert_close(*found)


def test_pooling_half_precision_does_not_overflow():
    head = PooledLinear(2, 2).half().train()
    assert head(torch.full((1, 2, 300, 300), 1.0, dtype=torch.float16)).isfinite().all()
