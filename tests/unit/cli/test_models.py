"""What the names of models on the command line stand for."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

import torchvision_operators
from offramp.cli import main
from offramp.cli.failures import UsageError
from offramp.cli.models import resolve


@pytest.fixture
def libraries() -> None:
    """timm and transformers can be imported."""
    torchvision_operators.declare()


def logits(name: str, shape: tuple[int, ...] | None = None) -> torch.Tensor:
    model, example = resolve(name, shape)
    assert not model.training
    with torch.no_grad():
        output = model(**example) if isinstance(example, dict) else model(example)
    return getattr(output, "logits", output)


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("resnet20_cifar", None, 10),
        ("lenet", None, 10),
        ("lenet", (3, 28, 28), 10),
        ("simplenet_cifar", (1, 20, 24), 10),
        ("resnet18", None, 1000),
        ("timm:mobilenetv3_small_050", (3, 64, 64), 1000),
        ("timm:vit_tiny_patch16_224", (1, 32, 32), 1000),
        ("hf:bert", None, 10),
        ("hf:bert", (9,), 10),
        ("hf:gpt2", None, 10),
        ("hf:vit", None, 10),
    ],
)
def test_models_take_their_example(libraries, name, shape, classes):
    assert list(logits(name, shape).shape) == [2, classes]


def test_a_saved_folder_comes_with_its_weights(libraries, tmp_path: Path):
    model, example = resolve("hf:distilbert")
    model.save_pretrained(tmp_path)
    again, same = resolve(f"hf:{tmp_path}")
    assert same.keys() == example.keys()
    with torch.no_grad():
        torch.testing.assert_close(again(**example).logits, model(**example).logits)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet99", ["no architecture 'resnet99'", "'resnet50'", "timm:NAME"]),
        ("timm:resnet1", ["timm has no model 'resnet1'", "'resnet18'"]),
        ("hf:brt", ["hf:brt is neither a folder nor", "'bert'"]),
        ("hf:wav2vec2", ["no classifier of sequences or images", "Wav2Vec2Config"]),
        ("somewhere.model:make", ["--input 3,224,224"]),
    ],
)
def test_unknown_models_name_the_nearest(libraries, name, words):
    with pytest.raises(UsageError) as caught:
        resolve(name)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_images_have_three_dimensions():
    with pytest.raises(UsageError, match=r"lenet takes images; --input \(16,\) must be channels, height and width"):
        resolve("lenet", (16,))


def test_a_folder_without_a_configuration(libraries, tmp_path: Path):
    with pytest.raises(UsageError, match="no Hugging Face configuration"):
        resolve(f"hf:{tmp_path}")


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match="pip install timm"):
        resolve("timm:resnet18")


def test_a_package_that_fails_to_import_says_for_what(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    for name in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=r"fails to import.*torchvision::nms.*built for this torch"):
        resolve("timm:resnet18")


def test_inspecting_a_hugging_face_model_says_what_cuts_it_and_why(
    libraries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["inspect", "hf:bert", "--json", str(tmp_path / "places.json")]) == 0
    found = json.loads((tmp_path / "places.json").read_text())
    engines = {place["name"]: place["engine"] for place in found["places"]}
    assert engines["bert.encoder.layer.1"] == "export"
    assert "'bert' (BertModel) cannot be divided" in found["refusals"]["spine"]
    shown = " ".join(capsys.readouterr().out.split())
    assert "Not everywhere by spine" in shown
    assert "input_ids 16, attention_mask 16" in shown
