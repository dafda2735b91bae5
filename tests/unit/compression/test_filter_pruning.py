from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from offramp.compression.algorithms import FilterPruning, Stage, Workshop
from offramp.compression.channel_selection import (
    filter_scores,
    for_channels,
    for_macs,
    lowest,
    lowest_overall,
    share_gone,
)
from offramp.cost import count_macs
from offramp.errors import CompressionError

MakeWorkshop = Callable[[nn.Module], Workshop]
EVERYWHERE = {"prune_first_conv": True, "prune_downsample_convs": True}


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("importance", ["L1", "L2", "geometric_median"])
@pytest.mark.parametrize("ranking", [{}, {"all_weights": True}])
def test_the_stripped_model_gives_what_the_masked_one_gave(
    network: nn.Module, images: Tensor, workshop_for: MakeWorkshop, importance: str, ranking: dict[str, bool]
) -> None:
    settings = FilterPruning(
        pruning_init=0.6, pruning_target=0.6, filter_importance=importance, **EVERYWHERE, **ranking
    )
    plain, before, macs = network(images), parameters(network), count_macs(lambda: network(images))
    pruner = settings.apply(network, workshop_for(network))
    masked, said = network(images), pruner.statistics()
    assert not torch.allclose(masked, plain, atol=1e-3)
    pruner.bake(network)
    small = pruner.shrink(network)
    assert torch.allclose(small(images), masked, atol=1e-5)
    assert said.details["macs"] == pytest.approx(1 - count_macs(lambda: small(images)) / macs, abs=1e-6)
    assert said.details["macs"] > 0.3
    assert parameters(small) < 0.75 * before
    assert {type(m).__module__.split(".")[0] for m in small.children()} <= {"torch"}


def test_a_stripped_model_trains_and_is_saved_small(
    residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop
) -> None:
    def size(model: nn.Module) -> int:
        file = io.BytesIO()
        torch.save(model.state_dict(), file)
        return len(file.getvalue())

    before = size(residual)
    pruner = FilterPruning(pruning_init=0.5, **EVERYWHERE).apply(residual, workshop_for(residual))
    pruner.bake(residual)
    pruner.shrink(residual)
    residual.train()
    optimizer = torch.optim.SGD(residual.parameters(), lr=0.002)
    loss = residual(images).square().mean()
    loss.backward()
    optimizer.step()
    assert residual(images).square().mean() < loss
    assert size(residual) < 0.6 * before


def test_the_gradients_of_removed_channels_are_zero_and_the_rest_learns(
    residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop
) -> None:
    pruner = FilterPruning(pruning_init=0.5, **EVERYWHERE).apply(residual, workshop_for(residual))
    residual.train()
    residual(images).square().sum().backward()
    kept = pruner.kept(residual)["inner.0"]
    gradient = residual.inner[0].weight.grad.flatten(1).abs().sum(1)
    assert torch.equal(gradient > 0, kept)


def test_channels_come_back_as_they_were_when_the_rate_falls(
    residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop
) -> None:
    plain = residual(images)
    pruner = FilterPruning(pruning_init=0.0, **EVERYWHERE).apply(residual, workshop_for(residual))
    assert pruner.stage is Stage.UNCOMPRESSED
    pruner.set_rate(pruner.maximal_rate)
    assert pruner.statistics().achieved == pytest.approx(pruner.maximal_rate)
    pruner.set_rate(0.0)
    assert torch.equal(residual(images), plain)
    assert pruner.stage is Stage.FULLY


def test_a_target_of_macs_is_reached_but_not_by_much(residual: nn.Module, workshop_for: MakeWorkshop) -> None:
    for ranking in (False, True):
        model = copy.deepcopy(residual)
        settings = FilterPruning(pruning_init=0.4, pruning_flops_target=0.4, all_weights=ranking, **EVERYWHERE)
        pruner = settings.apply(model, workshop_for(model))
        achieved = pruner.statistics().achieved
        assert achieved is not None
        assert 0.4 <= achieved < 0.7
        assert achieved == pruner.statistics().details["macs"]


def test_a_target_of_macs_above_what_can_be_cut_is_said_at_once(
    residual: nn.Module, workshop_for: MakeWorkshop
) -> None:
    with pytest.raises(CompressionError, match=r"pruning_flops_target=0.9: at most 0\.\d+ of this model's MACs"):
        FilterPruning(pruning_flops_target=0.9).apply(residual, workshop_for(residual))


def test_first_layers_strides_and_scopes_are_left_alone(residual: nn.Module, workshop_for: MakeWorkshop) -> None:
    def pruned(**settings: object) -> set[str]:
        model = copy.deepcopy(residual)
        return set(FilterPruning(**settings).apply(model, workshop_for(model)).statistics().layers)

    assert pruned() == {"inner.0"}
    assert pruned(prune_downsample_convs=True) == {"inner.0", "down.0"}
    assert pruned(**EVERYWHERE) == {"outer.0", "inner.0", "down.0"}
    assert pruned(**EVERYWHERE, ignored_scopes=("stem",)) == {"inner.0", "down.0"}
    assert pruned(**EVERYWHERE, target_scopes=("{re}inner",)) == {"inner.0"}


def test_what_cannot_be_removed_is_left_alone_with_the_reason(stubborn: nn.Module, workshop_for: MakeWorkshop) -> None:
    model = copy.deepcopy(stubborn)
    pruner = FilterPruning(prune_first_conv=True).apply(model, workshop_for(model))
    assert set(pruner.statistics().layers) == {"free"}
    with pytest.raises(CompressionError) as error:
        FilterPruning().apply(stubborn, workshop_for(stubborn))
    said = str(error.value)
    assert "'free': 'free' reads the inputs (prune_first_conv is false)" in said
    assert "'viewed': the model does not run with fewer channels" in said
    assert "'normed': its channels meet 'norm', a GroupNorm" in said
    assert "'averaged'" in said


def test_a_model_without_convolutions_is_refused(workshop_for: MakeWorkshop) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    with pytest.raises(CompressionError, match="nothing to prune in this model: it has no convolution"):
        FilterPruning().apply(model, workshop_for(model))


def test_the_schedule_moves_the_rate_until_it_is_set(residual: nn.Module, workshop_for: MakeWorkshop) -> None:
    settings = FilterPruning(pruning_target=0.5, pruning_steps=3, **EVERYWHERE)
    pruner = settings.apply(residual, workshop_for(residual))
    seen = []
    for epoch in range(4):
        pruner.epoch_step(epoch)
        seen.append((round(pruner.rate, 3), pruner.stage))
    assert seen[0] == (0.0, Stage.UNCOMPRESSED)
    assert seen[1] == (0.293, Stage.PARTLY)
    assert seen[2] == seen[3] == (0.5, Stage.FULLY)
    pruner.set_rate(0.25)
    pruner.epoch_step(4)
    assert pruner.rate == 0.25
    with pytest.raises(CompressionError, match=r"cannot take 0\.99 of this model away; allowed: 0 to"):
        pruner.set_rate(0.99)


def test_masks_travel_with_the_state_dict_and_the_rest_with_the_compressor(
    residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop
) -> None:
    other = copy.deepcopy(residual)
    settings = FilterPruning(**EVERYWHERE)
    first, second = (settings.apply(m, workshop_for(m)) for m in (residual, other))
    first.set_rate(0.4)
    other.load_state_dict(residual.state_dict())
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    assert torch.equal(residual(images), other(images))
    assert second.statistics() == first.statistics()
    assert second.stage is Stage.FULLY


def test_a_masked_model_is_copied_and_pickled_with_and_without_its_compressor(
    residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop
) -> None:
    pruner = FilterPruning(pruning_init=0.5, **EVERYWHERE).apply(residual, workshop_for(residual))
    expected = residual(images)
    for copied in (copy.deepcopy(residual), pickle.loads(pickle.dumps(residual))):
        assert torch.equal(copied(images), expected)
    both, companion = copy.deepcopy((residual, pruner))
    companion.set_rate(0.0)
    assert not torch.equal(both(images), expected)
    assert torch.equal(residual(images), expected)


def test_a_copy_is_stripped_without_touching_the_model(
    residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop
) -> None:
    pruner = FilterPruning(pruning_init=0.5, **EVERYWHERE).apply(residual, workshop_for(residual))
    expected, other = residual(images), copy.deepcopy(residual)
    pruner.bake(other)
    pruner.shrink(other)
    assert torch.allclose(other(images), expected, atol=1e-5)
    assert torch.equal(residual(images), expected)
    assert residual.inner[0].weight.shape[0] == 24
    assert other.inner[0].weight.shape[0] == 16


def test_impossible_settings_are_all_named_at_once() -> None:
    with pytest.raises(CompressionError, match=r"pruning_target must be a number.*it is 1.5.*schedule must be one of"):
        FilterPruning(pruning_target=1.5, schedule="linear")
    with pytest.raises(CompressionError, match="cannot be given beside pruning_target"):
        FilterPruning(pruning_target=0.5, pruning_flops_target=0.5)
    with pytest.raises(CompressionError, match=r"pruning_init must be at most the target 0\.5"):
        FilterPruning(pruning_init=0.6)


def test_the_geometric_median_prefers_what_others_cannot_replace() -> None:
    weight = torch.tensor([[1.0, 0.0], [1.1, 0.0], [0.9, 0.0], [-3.0, 2.0]])
    scores = filter_scores(weight, "geometric_median")
    assert scores.argmax() == 3
    by_hand = sum(float((weight[0] - w).norm()) for w in weight)
    assert float(scores[0]) == pytest.approx(by_hand)


widths = st.lists(st.integers(1, 70), min_size=1, max_size=4)


@given(widths, st.floats(0, 1), st.integers(0, 1000))
def test_no_more_is_taken_than_asked_for_and_kept_counts_are_round(sizes: list[int], rate: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = {str(k): torch.rand(n, generator=generator) for k, n in enumerate(sizes)}
    for select in (lowest, lowest_overall):
        kept = for_channels(partial(select, scores), rate)
        for name, mask in kept.items():
            assert mask.sum() % 8 == 0 or mask.all()
            assert mask.any()
            if not mask.all():
                assert scores[name][mask].min() >= scores[name][~mask].max()
        assert share_gone(kept) <= rate + 1e-6


def test_macs_are_met_with_as_little_as_possible() -> None:
    scores = {"a": torch.arange(64.0)}
    kept = for_macs(lambda rate: lowest(scores, rate), lambda k: float(k["a"].float().mean()) ** 2, share=0.5)
    # 48 of 64 channels leave (3/4)^2 = 0.5625 of the MACs, which is too much; 40 leave 0.39.
    assert kept["a"].sum() == 40
