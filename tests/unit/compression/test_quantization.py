from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from offramp import zoo
from offramp.compression.algorithms import FilterPruning, MagnitudeSparsity, Quantization, Stage, Workshop
from offramp.compression.dataflow import watch
from offramp.compression.layers import weight_in_use
from offramp.compression.quantizers import ActivationQuantizer
from offramp.compression.ranges import INITIALISERS, Percentiles, Seen
from offramp.compression.rounding import Grid, Ladder
from offramp.compression.sizes import Size
from offramp.errors import CompressionError

MakeWorkshop = Callable[[nn.Module], Workshop]


def resnet() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = zoo.ResNetCifar(blocks=(1, 1), widths=(16, 24), strides=(1, 2), in_channels=1, num_classes=4)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.3)
                module.running_var.uniform_(0.5, 2.0)
                nn.init.normal_(module.weight)  # some are negative
                nn.init.normal_(module.bias, std=0.3)
    return model.eval()


def onnx_of(model: nn.Module, images: Tensor) -> onnx.ModelProto:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        rows = torch.export.Dim("rows", min=1)
        exported = torch.export.export(model, (images,), dynamic_shapes=({0: rows},))
        return torch.onnx.export(exported, dynamo=True, verbose=False, opset_version=18).model_proto


def run_onnx(model: onnx.ModelProto, images: Tensor, optimised: Path | None = None) -> Tensor:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])


@given(st.floats(-5, 5), st.floats(0.01, 5), st.integers(2, 8), st.booleans())
def test_grids_hold_zero_and_cover_the_range(low: float, width: float, bits: int, symmetric: bool) -> None:
    grid = Grid.between(low, low + width, bits, symmetric)
    values = torch.linspace(low, low + width, 101)
    found = grid.round(values)
    assert grid.round(torch.zeros(1)).item() == 0.0
    assert len(found.unique()) <= 2**bits
    assert (found - values).abs().max() <= grid.scale * 0.51 + 1e-6


@given(st.integers(2, 8), st.booleans(), st.booleans(), st.integers(0, 100))
def test_ladders_round_each_output_by_at_most_half_a_step(
    bits: int, symmetric: bool, per_channel: bool, seed: int
) -> None:
    weight = torch.randn(5, 7, generator=torch.Generator().manual_seed(seed)) * torch.arange(1, 6)[:, None]
    ladder = Ladder.of(weight, bits, symmetric, per_channel)
    found = ladder.round(weight)
    assert ((found - weight).abs() <= ladder.scale[:, None] * 0.51).all()
    restored = (ladder.integers(weight).float() - ladder.zero_point[:, None]) * ladder.scale[:, None]
    assert torch.allclose(restored, found, atol=1e-5)
    assert len(ladder.scale.unique()) == (5 if per_channel else 1)


def test_what_compilers_get_is_what_is_trained(images: Tensor) -> None:
    weight = torch.randn(5, 7, requires_grad=True)
    for grid, values in ((Grid.between(-0.5, 1.5, 8, False), images.clone().requires_grad_(True)),):
        fused = grid.round(values)
        (gradient,) = torch.autograd.grad(fused.square().sum(), values)
        compiled = torch.compile(lambda x, grid=grid: grid.round(x), backend="aot_eager", fullgraph=True)(values)
        (other,) = torch.autograd.grad(compiled.square().sum(), values)
        assert torch.allclose(compiled, fused, atol=1e-6)
        assert torch.allclose(other, gradient, atol=1e-5)
    ladder = Ladder.of(weight, 8, True, True)
    compiled = torch.compile(ladder.round, backend="aot_eager", fullgraph=True)(weight)
    assert torch.allclose(compiled, ladder.round(weight), atol=1e-6)


def test_initialisers_find_the_ranges_they_are_named_for() -> None:
    seen = Seen()
    batch = torch.stack([torch.linspace(0, 1, 1000), torch.linspace(-1, 3, 1000)])
    seen.add(batch)
    seen.add(batch + 1)
    found = {name: initialise(seen, Percentiles(10, 90)) for name, initialise in INITIALISERS.items()}
    assert found["min_max"] == pytest.approx((-1, 4))
    assert found["mean_min_max"] == pytest.approx((0, 2.5))
    assert found["percentile"] == pytest.approx((0.0, 2.5), abs=0.3)
    assert found["mean_percentile"] == pytest.approx((0.3, 2.7), abs=0.05)
    low, high = found["threesigma"]
    assert -1 <= low < 0.8 < high <= 4


def test_every_tensor_is_watched_once_and_its_maker_known(images: Tensor) -> None:
    model = resnet()
    flow = watch(model, images)
    assert flow.maker_for(flow.reads["layer1.0.conv1"]) == "relu"
    assert flow.reads["layer1.0.conv1"] == flow.reads["layer1.0.downsample"]
    assert flow.maker_for(flow.reads["layer2.0.conv1"]) == "layer1.0.relu2"
    assert flow.reads["conv1"] in flow.inputs
    assert {flow.maker_for(t) for t in flow.joined} == {
        "relu",
        "layer1.0.bn2",
        "layer2.0.bn2",
        "layer2.0.downsample.1",
    }


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"preset": "mixed", "weight_mode": "asymmetric"},
        {"per_channel": False},
        {"weight_bits": 4, "activation_bits": 5},
    ],
)
def test_integers_give_what_was_trained_and_so_does_onnx(
    images: Tensor, workshop_for: MakeWorkshop, settings: dict[str, object]
) -> None:
    model = resnet()
    plain = model(images)
    quantizer = Quantization(**settings).apply(model, workshop_for(model))
    trained = model(images)
    step = (trained - plain).abs().max()
    assert step > 1e-4
    quantizer.bake(model)
    small = quantizer.shrink(model)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in small.modules())
    assert small.layer1[0].conv1.integers.dtype == torch.int8
    # Merging batch norms, and biases of integers, change a rounding here and there: by a whole step.
    share = 0.15 if "activation_bits" not in settings else 0.4  # steps of 5 bits are eight times larger
    assert (small(images) - trained).abs().mean() < share * step
    converted = run_onnx(onnx_of(small, images), images)
    assert (converted - small(images)).abs().mean() < share * step


def test_onnx_runtime_really_computes_with_integers(images: Tensor, workshop_for: MakeWorkshop, tmp_path: Path) -> None:
    model = resnet()
    quantizer = Quantization().apply(model, workshop_for(model))
    small = quantizer.shrink(model)
    proto = onnx_of(small, images)
    run_onnx(proto, images, tmp_path / "optimised.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QLinearConv") == sum(isinstance(m, nn.Conv2d) for m in small.modules())
    assert kinds.count("QLinearAdd") == 2
    assert "Conv" not in kinds
    weights = [onnx.numpy_helper.to_array(i) for i in proto.graph.initializer]
    assert sum(w.nbytes for w in weights if w.dtype == np.float32) < 0.2 * sum(w.nbytes for w in weights)


def test_integers_are_saved_in_a_quarter_of_the_space_and_come_back(images: Tensor, workshop_for: MakeWorkshop) -> None:
    def saved(model: nn.Module) -> bytes:
        file = io.BytesIO()
        torch.save(model, file)
        return file.getvalue()

    model = nn.Sequential(nn.Conv2d(1, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.Flatten(), nn.Linear(1024, 4)).eval()
    before = len(saved(model))
    small = Quantization().apply(model, workshop_for(model)).shrink(model)
    file = saved(small)
    assert len(file) < 0.35 * before
    loaded = torch.load(io.BytesIO(file), weights_only=False)
    assert torch.equal(loaded(images), small(images))
    again = copy.deepcopy(small)
    again.load_state_dict(small.state_dict())
    assert torch.equal(again(images), small(images))


def test_gradients_pass_the_rounding_but_not_the_clipping(images: Tensor) -> None:
    quantizer = ActivationQuantizer(8, symmetric=True)
    values = torch.tensor([-2.0, 0.3, 0.5, 9.0], requires_grad=True)
    assert torch.equal(quantizer(values), values)
    quantizer.cover(0.0, 1.0)
    quantizer(values).sum().backward()
    assert values.grad.tolist() == [0.0, 1.0, 1.0, 0.0]


def test_a_quantized_model_trains_is_copied_pickled_and_restored(images: Tensor, workshop_for: MakeWorkshop) -> None:
    model = resnet()
    fresh = copy.deepcopy(model)
    workshop = workshop_for(model)
    quantizer = Quantization(weight_bits=4).apply(model, workshop)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model.train()(images), torch.arange(12) % 4)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    expected = model.eval()(images)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(images), expected)
    resumed = Quantization(weight_bits=4).apply(fresh, workshop)
    fresh.load_state_dict(model.state_dict())
    resumed.load_state_dict(quantizer.state_dict())
    assert torch.equal(fresh.eval()(images), expected)


def test_the_stages_begin_when_they_are_due(images: Tensor, workshop_for: MakeWorkshop) -> None:
    model = resnet()
    plain = model(images)
    settings = Quantization(weights_quant_start_epoch=1, activations_quant_start_epoch=2)
    quantizer = settings.apply(model, workshop_for(model))
    assert torch.equal(model(images), plain)
    assert quantizer.stage is Stage.UNCOMPRESSED
    quantizer.epoch_step(1)
    assert quantizer.stage is Stage.PARTLY
    assert len(weight_in_use(model.conv1)[0].unique()) <= 9
    with_weights = model(images)
    quantizer.epoch_step(2)
    assert quantizer.stage is Stage.FULLY
    assert not torch.equal(model(images), with_weights)


def test_ignored_layers_stay_floats(images: Tensor, workshop_for: MakeWorkshop) -> None:
    model = resnet()
    settings = Quantization(ignored_scopes=("conv1",), weight_ignored_scopes=("fc",), quantize_inputs=False)
    quantizer = settings.apply(model, workshop_for(model))
    details = quantizer.statistics().details
    small = quantizer.shrink(model)
    assert type(small.conv1) is nn.Conv2d
    assert type(small.fc) is nn.Linear
    assert isinstance(small.bn1, nn.BatchNorm2d)
    kept = small.conv1.weight.numel() + small.fc.weight.numel()
    total = sum(m.weight.numel() for m in small.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    assert details["rounded_weights"] == pytest.approx(1 - kept / total)
    assert torch.isfinite(small(images)).all()


def test_pruned_sparse_and_quantized_at_once(images: Tensor, workshop_for: MakeWorkshop) -> None:
    model = resnet()
    workshop = workshop_for(model)
    compressors = [
        FilterPruning(pruning_init=0.5, prune_first_conv=True, prune_downsample_convs=True).apply(model, workshop),
        MagnitudeSparsity(sparsity_init=0.5).apply(model, workshop),
        Quantization().apply(model, workshop),
    ]
    expected = model(images)
    for compressor in reversed(compressors):
        compressor.bake(model)
    for compressor in compressors:
        model = compressor.shrink(model)
    assert torch.allclose(model(images), expected, atol=0.05 * float(expected.detach().abs().max()))
    convolution = model.layer1[0].conv1
    assert convolution.integers.shape[0] == 8
    assert float((convolution.integers == 0).float().mean()) > 0.3


def test_no_data_is_an_error_before_anything_changes(images: Tensor) -> None:
    model = resnet()
    names = list(model.state_dict())
    with pytest.raises(CompressionError, match="initialises its ranges on 256 samples and was given no data"):
        Quantization().apply(model, Workshop(images, model))
    assert list(model.state_dict()) == names


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"weight_bits": 1}, "weight_bits must be a whole number of at least 2 and of at most 8; it is 1"),
        ({"activation_mode": "wild"}, "activation_mode must be one of 'symmetric', 'asymmetric'; it is 'wild'"),
        ({"range_type": "guess"}, "range_type must be one of 'mean_min_max'"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, object], said: str) -> None:
    with pytest.raises(CompressionError) as error:
        Quantization(**settings)
    assert said in str(error.value)


def test_weights_that_became_integers_still_count_as_parameters() -> None:
    layer = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4)).eval()
    images = torch.randn(4, 1, 8, 8)
    before = Size.of(layer, images)
    compressor = Quantization().apply(layer, Workshop(images, copy.deepcopy(layer), [(images, torch.zeros(4))]))
    compressor.bake(layer)
    after = Size.of(compressor.shrink(layer), images)
    assert after.parameters == before.parameters == 8 * 9 + 8 + 8 * 36 * 4 + 4
    assert after.bytes < before.bytes
