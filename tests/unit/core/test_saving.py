"""A model on disk: what comes back, and what is refused without losing anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import offramp as ofr
from offramp import saving
from offramp.errors import FileFormatError
from offramp.saving import DESCRIPTION, WEIGHTS

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def mlp(width: int = 8) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    ofr.attach(mlp(), at=["1", "3"], example=X).save(tmp_path / "model")
    return tmp_path / "model"


def rewrite(folder: Path, **changes: object) -> None:
    data = {**json.loads((folder / DESCRIPTION).read_text()), **changes}
    (folder / DESCRIPTION).write_text(json.dumps({k: v for k, v in data.items() if v != "absent"}))


def test_every_kind_of_model_comes_back(tiny, tmp_path):
    model = tiny.attach()
    model.save(tmp_path)
    fresh = tiny.build()
    again = ofr.ExitModel.load(tmp_path, fresh).eval()
    assert again.backbone is fresh
    assert (again.cuts, again.cost, again.num_classes) == (model.cuts, model.cost, model.num_classes)
    for a, b in zip(again(tiny.batch(5)), model(tiny.batch(5)), strict=True):
        assert torch.equal(a, b)
    policy = ofr.Policy(ofr.criteria.Margin(), [0.2] * (model.exits - 1))
    before, after = (ofr.deploy(m, policy)(tiny.batch(9)) for m in (model, again))
    assert torch.equal(after.exits, before.exits)


def test_heads_of_each_kind_come_back(tiny_resnet, tmp_path):
    model = ofr.attach(
        tiny_resnet.make(), ["stem", "layer1"], tiny_resnet.batch(2), head=["sdn_pool", "pooled_linear"]
    ).eval()
    model.save(tmp_path)
    again = ofr.ExitModel.load(tmp_path, tiny_resnet.build()).eval()
    assert [type(h).__name__ for h in again.heads] == ["SdnPool", "PooledLinear"]
    assert torch.equal(again(tiny_resnet.batch(3))[0], model(tiny_resnet.batch(3))[0])


class Mine(nn.Module):
    def __init__(self, features: Tensor, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features.shape[1], classes)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(torch.tanh(features))


def test_a_head_of_ones_own_is_asked_for_and_comes_back(tmp_path):
    model = ofr.attach(mlp(), at=["1"], example=X, head=Mine)
    model.save(tmp_path)
    with pytest.raises(FileFormatError, match=r"heads of your own \(Mine\).*load\(\.\.\., head=\.\.\.\)"):
        ofr.ExitModel.load(tmp_path, mlp())
    again = ofr.ExitModel.load(tmp_path, mlp(), head=Mine)
    assert torch.equal(again(X)[0], model(X)[0])


def test_tied_and_strided_weights_come_back(tmp_path):
    backbone = mlp()
    backbone[2].weight = nn.Parameter(backbone[2].weight.detach().t())
    backbone[2].bias = backbone[0].bias
    model = ofr.attach(backbone, at=["1"], example=X)
    model.save(tmp_path)
    again = ofr.ExitModel.load(tmp_path, mlp())
    torch.testing.assert_close(again(X)[-1], model(X)[-1])


def test_meta_comes_back_without_the_weights(tmp_path):
    ofr.attach(mlp(), at=["1"], example=X).save(tmp_path, meta={"arch": "mlp", "seeds": [1]})
    (tmp_path / WEIGHTS).unlink()
    assert saving.describe(tmp_path)["meta"] == {"arch": "mlp", "seeds": [1]}


def test_saving_again_replaces_the_files(saved):
    other = ofr.attach(mlp(), at=["1"], example=X)
    other.save(saved)
    assert ofr.ExitModel.load(saved, mlp()).cuts == ("1",)
    assert sorted(p.name for p in saved.iterdir()) == [DESCRIPTION, WEIGHTS]


def test_a_backbone_of_another_class(saved):
    class Other(nn.Sequential):
        pass

    with pytest.raises(FileFormatError, match="holds a Sequential, the backbone given is a Other: build the one"):
        ofr.ExitModel.load(saved, Other(*mlp()))


def test_a_backbone_of_other_sizes_is_refused_and_left_as_it_was(saved):
    other = mlp(width=9)
    before = other[0].weight.clone()
    with pytest.raises(FileFormatError, match=r"another model: 5 tensors differ.*'0\.bias'.*same sizes"):
        ofr.ExitModel.load(saved, other)
    assert torch.equal(other[0].weight, before)


def test_a_backbone_with_more_layers(saved):
    with pytest.raises(FileFormatError, match=r"another model: 2 tensors differ in name or shape.*'5\.bias'"):
        ofr.ExitModel.load(saved, mlp().append(nn.Linear(3, 3)))


def test_other_heads(saved):
    with pytest.raises(FileFormatError, match="weights of other heads"):
        ofr.ExitModel.load(saved, mlp(), head=lambda features, classes: nn.Linear(8, classes))


@pytest.mark.parametrize("size", [0, 7, 200, -1])
def test_truncated_weights(saved, size):
    path = saved / WEIGHTS
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(FileFormatError, match=r"safetensors is damaged or truncated.*Restore it, or train again"):
        ofr.ExitModel.load(saved, mlp())


def test_flipped_header(saved):
    path = saved / WEIGHTS
    content = bytearray(path.read_bytes())
    content[20] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="damaged"):
        ofr.ExitModel.load(saved, mlp())


def test_missing_files(saved, tmp_path):
    with pytest.raises(FileFormatError, match=rf"no saved model at .*nowhere.*{DESCRIPTION}"):
        ofr.ExitModel.load(tmp_path / "nowhere", mlp())
    (saved / WEIGHTS).unlink()
    with pytest.raises(FileFormatError, match=rf"no .*{WEIGHTS}"):
        ofr.ExitModel.load(saved, mlp())


@pytest.mark.parametrize("content", ["", "{", '{"format": "offramp.exit_mod'])
def test_damaged_description(saved, content):
    (saved / DESCRIPTION).write_text(content)
    with pytest.raises(FileFormatError, match=rf"{DESCRIPTION} is damaged.*Restore it"):
        ofr.ExitModel.load(saved, mlp())


@pytest.mark.parametrize("content", ["[1]", "3", "null", "{}", '{"format": "offramp.policy"}'])
def test_a_description_of_something_else(saved, content):
    (saved / DESCRIPTION).write_text(content)
    with pytest.raises(FileFormatError, match=rf"{DESCRIPTION} is no saved model"):
        ofr.ExitModel.load(saved, mlp())


def test_a_newer_format(saved):
    rewrite(saved, version=2)
    with pytest.raises(FileFormatError, match=r"format version 2, this offramp reads version 1.*newer offramp"):
        ofr.ExitModel.load(saved, mlp())


def test_missing_fields(saved):
    rewrite(saved, cuts="absent", heads="absent")
    with pytest.raises(FileFormatError, match=r"lacks the fields \['cuts', 'heads'\]"):
        ofr.ExitModel.load(saved, mlp())


def test_an_unwritable_folder_loses_nothing(tmp_path):
    (tmp_path / "file").write_text("mine")
    model = ofr.attach(mlp(), at=["1"], example=X)
    with pytest.raises(FileFormatError, match=r"cannot be written to .*folder you can write to"):
        model.save(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_meta_that_is_no_data_leaves_the_saved_model_whole(saved):
    with pytest.raises(FileFormatError, match=r"Tensor is not JSON.*lists and dicts"):
        ofr.attach(mlp(), at=["1"], example=X).save(saved, meta={"mean": X})
    assert ofr.ExitModel.load(saved, mlp()).cuts == ("1", "3")


def test_the_weights_are_plain_safetensors(saved):
    tensors = safetensors.torch.load_file(saved / WEIGHTS)
    assert "model.backbone.0.weight" in tensors
    assert "model.heads.0.linear.weight" in tensors
    assert torch.equal(tensors["example.0"], X[:2])
