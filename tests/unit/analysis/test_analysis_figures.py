from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import offramp as ofr
from offramp.analysis.panels import panels
from offramp.analysis.recorder import snapshot
from offramp.errors import MissingExtraError

pytest.importorskip("matplotlib")
SCRIPT = Path(__file__).parents[3] / "benchmarks" / "regimes" / "analyses.py"


@pytest.fixture(scope="module")
def analyses():
    """The script that looks inside the benchmark's networks."""
    spec = importlib.util.spec_from_file_location("regime_analyses", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_figure_is_drawn_from_plain_data(analyses, tmp_path):
    from dataclasses import asdict

    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    model = ofr.attach(backbone, at=["1", "3"], example=torch.zeros(2, 4))
    inputs, labels = torch.randn(20, 4), torch.arange(20) % 3
    rows = [asdict(snapshot(model, inputs, labels, epoch=epoch, phase="joint")) for epoch in (0, 1)]
    space = analyses.Surroundings(model, lambda net: float(net(inputs)[-1].square().mean()))
    solutions = {}
    for regime in analyses.REGIMES:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        solutions[regime] = analyses.weights_of(model)
    found = {"snapshots": dict.fromkeys(analyses.REGIMES, rows), **analyses.between(space, solutions)}
    drawn = analyses.draw(json.loads(json.dumps(found, allow_nan=False)), tmp_path)
    names = {path.stem for path in drawn}
    assert names == {*(f"dominance-{r}" for r in analyses.REGIMES), "ranks", "information", "similarity"} | {
        "lines",
        "around",
        "plane",
    }
    assert all(path.stat().st_size > 3_000 for path in drawn)
    assert all(barrier >= 0 for barrier in found["barriers"].values())
    for regime, losses in found["around"]["losses"].items():
        assert losses[5] == pytest.approx(space.loss(solutions[regime])), "the middle of the line is the solution"


def test_panels_fill_the_page_and_spare_ones_are_empty():
    figure, axes = panels(3, height=2.0)
    assert len(axes) == 3
    assert tuple(figure.get_size_inches()) == (6.4, 4.5)
    assert [panel.axison for panel in figure.axes] == [True, True, True, False]


def test_a_missing_matplotlib_is_answered_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'offramp\[bench\]'"):
        panels(1, height=1.0)
