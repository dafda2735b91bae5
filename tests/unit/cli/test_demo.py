from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from offramp.cli import demo, main
from offramp.cli.steps import demonstration
from offramp.data import catalogue, fashion_mnist

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")


def nothing_found(*_: object) -> Any:
    raise fashion_mnist.NotFoundError("Fashion-MNIST is nowhere.")


def test_without_fashion_mnist_digits_stand_in_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue.DATASETS, "fashion-mnist", nothing_found)
    recipe, notice = demonstration.choose_recipe(None, demo.RECIPES)
    assert recipe.data == "digits"
    assert "smoke test" in notice


def test_recipes_ask_for_what_they_say() -> None:
    for name, recipe in demo.RECIPES.items():
        request = recipe.request(seed=3)
        assert (request.data, request.seed) == (name, 3)
        assert (request.epochs, request.calibration) == (recipe.epochs, recipe.calibration)


@pytest.mark.slow
def test_demo_from_nothing_to_report_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a recipe of seconds, whose goal is easy to reach."""
    quick = dataclasses.replace(demo.RECIPES["digits"], arch="lenet", epochs=6, points=0.2, delta=0.2)
    monkeypatch.setitem(demo.RECIPES, "digits", quick)
    monkeypatch.setitem(catalogue.DATASETS, "fashion-mnist", nothing_found)
    command = ["demo", "--out", str(tmp_path / "run"), "--seed", "1"]
    assert main([*command, "--json", str(tmp_path / "out.json")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Notice" in shown
    assert shown.endswith(f"Report: {tmp_path / 'run' / 'report.html'}".replace(" ", " "))
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["provenance"]["seed"] == 1
    assert found["certificate"]["delta"] == 0.2
    assert "smoke test" in found["subject"]["notice"]
    before = (tmp_path / "run" / "results.json").read_bytes()
    assert main(command) == 0
    assert "is complete" in capsys.readouterr().out
    assert (tmp_path / "run" / "results.json").read_bytes() == before
