"""Scopes: torch's names, NNCF's spelling, expressions."""

from __future__ import annotations

import pytest
from torch import nn

from offramp.compression.scopes import covered, selected
from offramp.errors import CompressionError


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
        self.layer10 = nn.Sequential(nn.Conv2d(2, 2, 1))
        self.fc = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        ("layer1", {"layer1", "layer1.0", "layer1.1"}),
        ("Net/Sequential[layer1]", {"layer1", "layer1.0", "layer1.1"}),
        ("Net/Sequential[layer1]/NNCFConv2d[0]/conv2d_0", {"layer1.0"}),
        ("{re}^layer1\\.", {"layer1.0", "layer1.1"}),
        ("{re}.*NNCFConv2d.*", {"layer1.0", "layer10.0"}),
        ("{re}Linear", {"fc"}),
    ],
)
def test_a_scope_covers(scope: str, names: set[str]) -> None:
    assert covered(Net(), [scope]) == names


def test_selected_modules_are_inside_targets_and_outside_ignored_scopes() -> None:
    assert list(selected(Net(), (nn.Conv2d, nn.Linear))) == ["layer1.0", "layer10.0", "fc"]
    assert list(selected(Net(), (nn.Conv2d, nn.Linear), ignored=["layer1"])) == ["layer10.0", "fc"]
    assert list(selected(Net(), (nn.Conv2d,), ignored=["layer10"], target=["{re}layer"])) == ["layer1.0"]


def test_a_scope_that_covers_nothing_is_no_silent_mistake() -> None:
    with pytest.raises(CompressionError, match=r"'layer2' covers no module of this Net\. Closest: 'layer1'"):
        covered(Net(), ["layer2"])
