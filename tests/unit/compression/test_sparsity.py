from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from offramp.compression.algorithms import ConstSparsity, FilterPruning, MagnitudeSparsity, Stage, Workshop
from offramp.compression.layers import weight_in_use
from offramp.compression.sparsity import threshold
from offramp.errors import CompressionError

MakeWorkshop = Callable[[nn.Module], Workshop]


def zeros(model: nn.Module) -> float:
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=50, unique=True), st.floats(0.01, 1))
def test_the_threshold_is_the_published_one(values: list[float], rate: float) -> None:
    scores = torch.tensor(values)
    assert threshold([scores[:7], scores[7:]], rate) == float(scores.sort().values[int((len(values) - 1) * rate)])


@pytest.mark.parametrize("mode", ["global", "local"])
@pytest.mark.parametrize("importance", ["abs", "normed_abs"])
def test_the_asked_share_of_the_weights_is_zero(
    network: nn.Module, images: Tensor, workshop_for: MakeWorkshop, mode: str, importance: str
) -> None:
    settings = MagnitudeSparsity(
        sparsity_init=0.7, sparsity_target=0.7, sparsity_level_setting_mode=mode, weight_importance=importance
    )
    sparsifier = settings.apply(network, workshop_for(network))
    masked = network(images)
    said = sparsifier.statistics()
    assert said.achieved == pytest.approx(0.7, abs=0.01)
    if mode == "local":
        assert list(said.layers.values()) == pytest.approx([0.7] * len(said.layers), abs=0.05)
    sparsifier.bake(network)
    assert zeros(network) == pytest.approx(said.achieved)
    assert torch.equal(network(images), masked)
    assert all(type(m).__module__.startswith("torch") for m in network.modules() if isinstance(m, nn.Conv2d))


def test_the_smallest_weights_go_and_the_layers_scale_matters_only_without_norms(workshop_for: MakeWorkshop) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 4))
    with torch.no_grad():
        model[1].weight.mul_(1000)
    by_size, by_share = (
        MagnitudeSparsity(sparsity_init=0.5, weight_importance=kind)
        .apply(m := copy.deepcopy(model), workshop_for(m))
        .statistics()
        .layers
        for kind in ("abs", "normed_abs")
    )
    assert by_size["2"] == 1.0
    assert by_share["2"] < 0.5


def test_masked_weights_keep_their_values_and_get_no_gradient(
    residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop
) -> None:
    sparsifier = MagnitudeSparsity(sparsity_init=0.5).apply(residual, workshop_for(residual))
    residual.train()
    residual(images).square().sum().backward()
    layer = residual.inner[0]
    dead = weight_in_use(layer) == 0
    assert dead.any()
    assert (layer.weight.grad[dead] == 0).all()
    assert (layer.weight[dead] != 0).all()
    sparsifier.set_rate(0.0)
    assert torch.equal(weight_in_use(layer), layer.weight)


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        ({"schedule": "polynomial", "sparsity_target_epoch": 2, "power": 2.0}, [0.0, 0.375, 0.5, 0.5]),
        ({"schedule": "exponential", "sparsity_target_epoch": 2}, [0.0, 0.293, 0.5, 0.5]),
        ({"schedule": "adaptive", "patience": 2}, [0.0, 0.0, 0.05, 0.05]),
        (
            {"schedule": "multistep", "multistep_steps": (1, 3), "multistep_sparsity_levels": (0.1, 0.3, 0.5)},
            [0.1, 0.3, 0.3, 0.5],
        ),
    ],
)
def test_each_schedule_moves_the_rate(
    residual: nn.Module, workshop_for: MakeWorkshop, settings: dict[str, object], rates: list[float]
) -> None:
    sparsifier = MagnitudeSparsity(sparsity_freeze_epoch=50, **settings).apply(residual, workshop_for(residual))
    for epoch, rate in enumerate(rates):
        sparsifier.epoch_step(epoch)
        assert sparsifier.rate == pytest.approx(rate, abs=1e-3)
        assert sparsifier.statistics().achieved == pytest.approx(rate, abs=0.01)
        expected = Stage.FULLY if rate == 0.5 else Stage.PARTLY if rate else Stage.UNCOMPRESSED
        assert sparsifier.stage is expected


def test_the_rate_moves_within_an_epoch_where_that_is_asked(residual: nn.Module, workshop_for: MakeWorkshop) -> None:
    settings = MagnitudeSparsity(
        update_per_optimizer_step=True, steps_per_epoch=4, sparsity_target_epoch=2, power=1.0, sparsity_target=0.4
    )
    sparsifier = settings.apply(residual, workshop_for(residual))
    sparsifier.epoch_step(1)
    seen = []
    for _ in range(4):
        sparsifier.step()
        seen.append(round(sparsifier.rate, 3))
    assert seen == [0.2, 0.25, 0.3, 0.35]


def test_masks_are_chosen_anew_until_they_are_frozen(residual: nn.Module, workshop_for: MakeWorkshop) -> None:
    settings = MagnitudeSparsity(sparsity_init=0.5, sparsity_target_epoch=0, sparsity_freeze_epoch=2)
    sparsifier = settings.apply(residual, workshop_for(residual))
    weight = residual.inner[0].weight
    dead = weight_in_use(residual.inner[0]) == 0
    with torch.no_grad():
        weight[dead] = 100.0
    sparsifier.epoch_step(2)
    assert torch.equal(weight_in_use(residual.inner[0]) == 0, dead)
    sparsifier.epoch_step(1)
    assert (weight_in_use(residual.inner[0])[dead] == 100.0).all()


def test_channels_that_are_gone_do_not_count_as_sparse(residual: nn.Module, workshop_for: MakeWorkshop) -> None:
    workshop = workshop_for(residual)
    pruner = FilterPruning(pruning_init=0.5, prune_first_conv=True, prune_downsample_convs=True)
    first = pruner.apply(residual, workshop)
    second = MagnitudeSparsity(sparsity_init=0.5).apply(residual, workshop)
    achieved = second.statistics().achieved
    assert achieved == pytest.approx(0.5, abs=0.01)
    second.bake(residual)
    first.bake(residual)
    first.shrink(residual)
    assert zeros(residual) == pytest.approx(achieved)


def test_pruned_and_sparse_models_are_stripped_to_what_they_gave(
    network: nn.Module, images: Tensor, workshop_for: MakeWorkshop
) -> None:
    workshop = workshop_for(network)
    first = FilterPruning(pruning_init=0.5, prune_first_conv=True).apply(network, workshop)
    second = MagnitudeSparsity(sparsity_init=0.5).apply(network, workshop)
    expected = network(images)
    copied = pickle.loads(pickle.dumps(network))
    assert torch.equal(copied(images), expected)
    for compressor in (second, first):
        compressor.bake(network)
    first.shrink(network)
    assert torch.allclose(network(images), expected, atol=1e-5)


def test_zeros_stay_zeros(residual: nn.Module, images: Tensor, workshop_for: MakeWorkshop) -> None:
    with pytest.raises(CompressionError, match="no weight of this model is zero"):
        ConstSparsity().apply(residual, workshop_for(residual))
    with torch.no_grad():
        residual.inner[0].weight[::2] = 0
    keeper = ConstSparsity(ignored_scopes=("fc",)).apply(residual, workshop_for(residual))
    optimizer = torch.optim.SGD(residual.parameters(), lr=0.5, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        residual.train()(images).square().mean().backward()
        optimizer.step()
    assert (weight_in_use(residual.inner[0])[::2] == 0).all()
    assert keeper.stage is Stage.FULLY
    assert keeper.statistics().layers["inner.0"] == 0.5
    assert "fc" not in keeper.statistics().layers
    keeper.bake(residual)
    assert (residual.inner[0].weight[::2] == 0).all()
    assert (residual.inner[0].weight[1::2] != 0).all()


def test_a_scope_without_layers_is_refused(residual: nn.Module, workshop_for: MakeWorkshop) -> None:
    with pytest.raises(CompressionError, match="magnitude_sparsity finds no layer to work on"):
        MagnitudeSparsity(target_scopes=("stem.1",)).apply(residual, workshop_for(residual))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sparsity_target": 1.0}, "sparsity_target must be a number of at least 0 and below 1; it is 1.0"),
        ({"sparsity_init": 0.7}, "sparsity_init must be at most sparsity_target=0.5; it is 0.7"),
        ({"sparsity_freeze_epoch": 10}, "sparsity_freeze_epoch must be at least sparsity_target_epoch=90"),
        ({"schedule": "multistep", "multistep_steps": (3, 5)}, "does not fit multistep_steps: 2 steps"),
        ({"update_per_optimizer_step": True}, "steps_per_epoch must be given"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, object], said: str) -> None:
    with pytest.raises(CompressionError) as error:
        MagnitudeSparsity(**settings)
    assert said in str(error.value)
