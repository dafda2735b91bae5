from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from offramp.cli import main

MODEL = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.mixed = nn.Flatten(0)
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        features = self.first(x)
        return self.last(features) + self.mixed(features).sum()


ready = Net()
not_a_model = dict
"""


def inspected(tmp_path: Path, *tokens: str) -> dict[str, Any]:
    assert main(["inspect", *tokens, "--json", str(tmp_path / "places.json")]) == 0
    found: dict[str, Any] = json.loads((tmp_path / "places.json").read_text())
    return found


def test_containers_of_a_zoo_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = inspected(tmp_path, "resnet20_cifar")
    names = [place["name"] for place in found["places"]]
    assert {"layer1", "layer2.0", "layer3"} <= set(names)
    assert not [name for name in names if "conv" in name]
    assert all(place["tensors"] == 1 and place["refused"] is None for place in found["places"])
    shares = [place["share"] for place in found["places"]]
    assert shares == sorted(shares)
    shown = capsys.readouterr().out
    assert "layer2.0" in shown
    assert "--full" in shown


def test_full_lists_layers_inside_blocks_too(tmp_path: Path) -> None:
    places = inspected(tmp_path, "resnet20_cifar", "--full")["places"]
    inside = next(place for place in places if place["name"] == "layer1.0.conv1")
    assert inside["tensors"] == 2


def test_the_shape_of_the_input_matters(tmp_path: Path) -> None:
    small, large = (inspected(tmp_path, "resnet20_cifar", "--input", f"3,{n},{n}")["places"][0] for n in (16, 32))
    assert large["macs"] == pytest.approx(4 * small["macs"])


@pytest.mark.parametrize("attribute", ["Net", "ready"])
def test_a_model_of_ones_own_and_why_it_cannot_be_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], attribute: str
) -> None:
    name = f"own_{attribute.lower()}"
    (tmp_path / f"{name}.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    places = inspected(tmp_path, f"{name}:{attribute}", "--input", "4", "--full")["places"]
    assert {place["name"]: place["refused"] is None for place in places} == {
        "first": True,
        "mixed": False,
        "last": True,
    }
    shown = " ".join(capsys.readouterr().out.split())
    assert "no cut" in shown
    assert "mixed: " in shown


def test_a_factory_of_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own_other.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", "own_other:not_a_model", "--input", "4"]) == 2
    assert "must give a torch.nn.Module" in capsys.readouterr().err
