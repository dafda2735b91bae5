"""Goals: what they allow, what they prefer, and the errors that say how to write them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest

from offramp.errors import CalibrationError
from offramp.goals import AccuracyDrop, MACBudget


class Figures(NamedTuple):
    accuracy: float
    mean_macs: float


PLAIN = Figures(0.92, 100.0)


def test_accuracy_drop_allows_up_to_the_budget() -> None:
    goal = AccuracyDrop(0.01)
    assert goal.allows(Figures(0.91, 1.0), PLAIN)
    assert not goal.allows(Figures(0.9099, 1.0), PLAIN)


def test_accuracy_drop_prefers_fewer_macs() -> None:
    points = [Figures(0.92, 30.0), Figures(0.91, 20.0), Figures(0.915, 20.0)]
    assert min(points, key=AccuracyDrop(0.01).preference) == points[2]


def test_mac_budget_allows_up_to_the_budget_and_prefers_accuracy() -> None:
    goal = MACBudget(share=0.3)
    assert goal.allows(Figures(0.5, 30.0), PLAIN)
    assert not goal.allows(Figures(0.5, 30.01), PLAIN)
    points = [Figures(0.90, 30.0), Figures(0.91, 29.0), Figures(0.91, 28.0)]
    assert min(points, key=goal.preference) == points[2]
    assert MACBudget(macs=25.0).limit(PLAIN) == 25.0
    assert MACBudget(share=1.2).allows(Figures(0.9, 119.0), PLAIN)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points": 1}, r"one percentage point is 0\.01.*AccuracyDrop\(0\.01\)"),
        ({"points": 2.5}, r"AccuracyDrop\(0\.025\)"),
        ({"points": -0.01}, r"points=-0\.01.* at least 0"),
        ({"points": math.nan}, "points=nan"),
        ({"points": 0.01, "delta": 0.0}, r"delta=0\.0.*between 0 and 1"),
        ({"points": 0.01, "delta": 1.0}, r"delta=1\.0.*between 0 and 1"),
        ({"points": 0.01, "delta": math.nan}, "delta=nan"),
        ({"points": 0.01, "delta": "0.1"}, r"delta='0\.1'\) must be a number"),
        ({"points": "1 %"}, r"points='1 %'\) must be a number"),
        ({"points": 0.01, "test": "t"}, r"test='t'.*'exact', 'betting', 'wsr', 'hoeffding_bentkus', 'harm'"),
    ],
)
def test_accuracy_drop_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        AccuracyDrop(**arguments)


@pytest.mark.parametrize("arguments", [{}, {"share": 0.3, "macs": 10.0}])
def test_mac_budget_needs_exactly_one_budget(arguments: dict[str, Any]) -> None:
    with pytest.raises(CalibrationError, match="exactly one of share"):
        MACBudget(**arguments)


@pytest.mark.parametrize("arguments", [{"share": 0.0}, {"macs": -1.0}, {"share": math.inf}, {"macs": math.nan}])
def test_mac_budget_must_be_positive_and_finite(arguments: dict[str, Any]) -> None:
    with pytest.raises(CalibrationError, match="positive, finite"):
        MACBudget(**arguments)


def test_goals_are_named_for_json() -> None:
    assert AccuracyDrop(0.01, delta=0.05).to_dict() == {
        "name": "accuracy_drop",
        "points": 0.01,
        "delta": 0.05,
        "test": "exact",
        "relative": False,
    }
    assert MACBudget(macs=7.0).to_dict() == {"name": "mac_budget", "share": None, "macs": 7.0, "delta": None}


@pytest.mark.parametrize("goal", [AccuracyDrop(0.01), AccuracyDrop(0.01, delta=0.1), MACBudget(share=0.2)])
def test_goals_describe_their_numbers(goal: AccuracyDrop | MACBudget) -> None:
    words = goal.describe()
    numbers = ["0.2"] if isinstance(goal, MACBudget) else ["1 point"] + (["0.1"] if goal.delta else [])
    assert all(number in words for number in numbers)
