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


def test_a_twin_is_shown_with_its_exits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = inspected(tmp_path, "resnet32_cifar_earlyexit")
    early, last = found["exits"]
    # Distiller's figures: 69.12 M MACs, of which a sample that leaves behind layer1.2 takes 21.1 %.
    assert (early["behind"], early["head"]) == ("layer1.2", "AvgPoolLinear")
    assert early["share"] == pytest.approx(0.211, abs=5e-4)
    assert early["parameters"] == 1600 * 10 + 10
    assert last["macs"] == pytest.approx(69.12e6 + 16_000, rel=1e-4)
    assert found["model"] == "resnet32_cifar_earlyexit"
    assert "layer3" in [place["name"] for place in found["places"]]
    assert "AvgPoolLinear" in capsys.readouterr().out


def test_the_exits_of_a_twin_follow_the_input(tmp_path: Path) -> None:
    early, _ = inspected(tmp_path, "branchy_lenet_earlyexit", "--input", "3,40,40")["exits"]
    assert early["parameters"] > 10_000


def test_a_plain_network_has_no_exits_to_show(tmp_path: Path) -> None:
    assert "exits" not in inspected(tmp_path, "branchy_lenet")


def test_where_a_twin_will_not_do_the_plain_name_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verdict", "resnet20_cifar_earlyexit"]) == 2
    assert "here say resnet20_cifar --at layer1.2" in capsys.readouterr().err


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
