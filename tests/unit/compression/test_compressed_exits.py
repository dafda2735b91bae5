"""Compressed models with exits: heads are compressed with the backbone, stages are still cut and skipped."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

import offramp as ofr
from offramp import zoo
from offramp.compression.algorithms import (
    Algorithm,
    FilterPruning,
    KnowledgeDistillation,
    MagnitudeSparsity,
    Quantization,
    RbSparsity,
    Workshop,
)

MakeWorkshop = Callable[[nn.Module], Workshop]
PRUNING = FilterPruning(pruning_init=0.5, prune_first_conv=True, prune_downsample_convs=True)
COMBINATIONS: dict[str, Sequence[Algorithm]] = {
    "pruned": (PRUNING,),
    "sparse": (MagnitudeSparsity(sparsity_init=0.5),),
    "quantized": (Quantization(),),
    "all": (
        PRUNING,
        MagnitudeSparsity(sparsity_init=0.3),
        Quantization(),
        KnowledgeDistillation(type="softmax", temperature=2.0),
    ),
}


def exits(images: Tensor) -> ofr.ExitModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        backbone = zoo.ResNetCifar(blocks=(1, 1), widths=(16, 16), strides=(1, 2), in_channels=1, num_classes=4)
    return ofr.attach(backbone, at=["layer1"], example=images[:1], head="sdn_pool").eval()


def squeezed(model: nn.Module, algorithms: Sequence[Algorithm], workshop: Workshop) -> tuple[nn.Module, list[Tensor]]:
    """The stripped model, and what it gave before."""
    compressors = [algorithm.apply(model, workshop) for algorithm in algorithms]
    expected = model(workshop.example)
    for compressor in reversed(compressors):
        compressor.bake(model)
    for compressor in compressors:
        model = compressor.shrink(model)
    return model, expected


def agree(found: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float) -> None:
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, atol=tolerance * float(b.detach().abs().max()))


@pytest.mark.parametrize("name", COMBINATIONS)
def test_stages_give_what_the_compressed_model_gave(images: Tensor, workshop_for: MakeWorkshop, name: str) -> None:
    model = exits(images)
    plain = model.cost.macs
    small, expected = squeezed(model, COMBINATIONS[name], workshop_for(model))
    assert isinstance(small, ofr.ExitModel)
    agree(small(images), expected, tolerance=0.05 if name in ("quantized", "all") else 1e-4)
    found: dict[int, Tensor] = {}
    small.traverse(images, lambda arrival: found.update({arrival.exit: arrival.logits()}))
    agree(list(found.values()), small(images), tolerance=1e-4)
    assert small.chain().stages
    assert (small.cost.macs[-1] < 0.7 * plain[-1]) == (name in ("pruned", "all"))


def test_exits_are_taken_from_a_compressed_model_and_stages_skipped(images: Tensor, workshop_for: MakeWorkshop) -> None:
    model = exits(images)
    small, _ = squeezed(model, COMBINATIONS["all"], workshop_for(model))
    decisions = ofr.deploy(small, ofr.always(exit=0))(images)
    assert torch.equal(decisions.logits.argmax(1), small(images)[0].argmax(1))
    assert set(decisions.exits.tolist()) == {0}


def test_exits_are_attached_to_a_stripped_model(images: Tensor, workshop_for: MakeWorkshop) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        backbone = zoo.ResNetCifar(blocks=(1, 1), widths=(16, 16), strides=(1, 2), in_channels=1, num_classes=4).eval()
    for algorithms in ([PRUNING], [PRUNING, Quantization()]):
        small, expected = squeezed(copy.deepcopy(backbone), algorithms, workshop_for(backbone))
        model = ofr.attach(small, at=["layer1"], example=images[:1])
        agree([model(images)[-1]], [expected], tolerance=0.05)
        assert model.heads[0].linear.in_features == 8


def test_exits_are_attached_to_a_model_that_is_being_compressed(images: Tensor, workshop_for: MakeWorkshop) -> None:
    backbone = exits(images).backbone
    PRUNING.apply(backbone, workshop_for(backbone))
    model = ofr.attach(backbone, at=["layer1"], example=images[:1])
    found: dict[int, Tensor] = {}
    model.traverse(images, lambda arrival: found.update({arrival.exit: arrival.logits()}))
    agree(list(found.values()), model(images), tolerance=1e-4)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_a_compressed_model_with_exits_is_copied_and_pickled(
    images: Tensor, workshop_for: MakeWorkshop, name: str
) -> None:
    model = exits(images)
    workshop = workshop_for(model)
    for algorithm in COMBINATIONS[name]:
        algorithm.apply(model, workshop)
    expected = model(images)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        agree(other(images), expected, tolerance=1e-6)
    other = exits(images)
    for algorithm in COMBINATIONS[name]:
        algorithm.apply(other, workshop)
    other.load_state_dict(model.state_dict())
    agree(other(images), expected, tolerance=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("algorithms", [COMBINATIONS["all"], (RbSparsity(),)], ids=["all", "rb_sparsity"])
def test_torch_compile_takes_a_model_that_is_being_compressed_as_one_graph(
    images: Tensor, workshop_for: MakeWorkshop, algorithms: Sequence[Algorithm]
) -> None:
    model = exits(images).backbone
    workshop = workshop_for(model)
    compressors = [algorithm.apply(model, workshop) for algorithm in algorithms]
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    agree([compiled(images)], [model(images)], tolerance=0.02)
    for compressor in reversed(compressors):
        compressor.bake(model)
    for compressor in compressors:
        model = compressor.shrink(model)
    agree([torch.compile(model, backend="aot_eager", fullgraph=True)(images)], [model(images)], tolerance=0.02)
    torch._dynamo.reset()


def test_nothing_of_torch_is_patched(images: Tensor, workshop_for: MakeWorkshop) -> None:
    kinds = (nn.Module, nn.Conv2d, nn.Linear, nn.BatchNorm2d, torch.Tensor)
    before = [dict(vars(kind)) for kind in kinds]
    functions = dict(vars(nn.functional))
    model = exits(images)
    squeezed(model, COMBINATIONS["all"], workshop_for(model))
    assert [dict(vars(kind)) for kind in kinds] == before
    assert dict(vars(nn.functional)) == functions
