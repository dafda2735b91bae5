from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from offramp.errors import TrainingError
from offramp.regimes import Joint, Mixed, Phase, Settings, Wrapping, from_dict, from_words, register
from offramp.regimes.joint import JOINT
from offramp.regimes.regime import REGIMES


@pytest.fixture(autouse=True)
def _wrapped():
    @dataclass(frozen=True)
    class Doubled(Wrapping):
        base: Any = JOINT
        weight: float = 1.0

        def changed(self, phase: Phase, exits: int) -> Phase:
            return phase

    register(Doubled)
    yield
    REGIMES._members.pop("doubled")


def test_a_name_is_enough():
    assert from_dict("mixed") == Mixed()


def test_nested_tables_become_regimes_and_settings():
    data = {"name": "doubled", "weight": 2, "base": {"name": "mixed", "weights": [0.1], "joint": {"lr": 0.3}}}
    regime = from_dict(data)
    assert regime.base == Mixed(weights=(0.1,), joint=Settings(lr=0.3))
    assert from_dict(regime.to_dict()) == regime
    assert from_dict({"name": "doubled", "base": "mixed"}).base == Mixed()


def test_words_wrap_one_another_and_options_find_their_regime():
    regime = from_words(["doubled", "mixed"], ["weight=3", "first=0.25", "weights=0.2,0.3", "backbone.optimizer=adamw"])
    assert regime.weight == 3
    assert regime.base == Mixed(weights=(0.2, 0.3), first=0.25, backbone=Settings(optimizer="adamw"))
    assert from_words(["joint"], ["weights=0.3,"]) == Joint(weights=(0.3,))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("mixd", "There is no regime 'mixd'. Closest: 'mixed'"),
        ({"first": 1}, "told by a name or a table with a 'name'"),
        (7, "told by a name"),
        ({"name": "mixed", "frist": 1}, "'mixed' has no parameter 'frist'. Closest: 'first'"),
        ({"name": "mixed", "joint": {"lr_facto": 1}}, "have no 'lr_facto'. Closest: 'lr_factor'"),
    ],
)
def test_unknown_names_are_told(data: Any, message: str):
    with pytest.raises(TrainingError, match=message):
        from_dict(data)


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ([], [], "There are: "),
        (["mixed", "joint"], [], "'mixed' wraps no other one. Those that do: .*doubled"),
        (["mixed"], ["first"], "'first' is no 'parameter=value'"),
        (["mixed"], ["frist=1"], "no parameter 'frist'.*Closest: 'first'"),
        (["mixed"], ["first=x"], r"Mixed\(first='x'\): give a number of epochs"),
    ],
)
def test_impossible_words_are_told(names: list[str], options: list[str], message: str):
    with pytest.raises(TrainingError, match=message):
        from_words(names, options).phases(3, 4)


SPLITS = [(2, 6, (2, 4)), (0.5, 5, (2, 3)), (0.01, 4, (1, 3)), (0.99, 4, (3, 1))]


@pytest.mark.parametrize(("first", "epochs", "found"), SPLITS)
def test_epochs_are_shared_out(first: float, epochs: int, found: tuple[int, int]):
    assert tuple(phase.epochs for phase in Mixed(first=first).phases(3, epochs)) == found


@pytest.mark.parametrize(
    ("first", "epochs", "message"),
    [
        (0.5, 1, "each needs at least 1. Give more epochs"),
        (4, 4, "leaves 4 epochs for 'backbone' and 0 for 'joint'"),
        (1.5, 4, "a share must lie between 0 and 1"),
        (-1, 4, "give a number of epochs, or a share"),
        (True, 4, "give a number of epochs, or a share"),
    ],
)
def test_impossible_splits_are_told(first: Any, epochs: int, message: str):
    with pytest.raises(TrainingError, match=message):
        Mixed(first=first).phases(3, epochs)
