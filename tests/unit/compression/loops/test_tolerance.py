"""The criterion: how much worse a compressed model may be."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offramp.compression.tolerance import DivergedError, Tolerance, checked_metric
from offramp.errors import CompressionError

POSITIVE = st.floats(0.01, 1e4)


@given(POSITIVE, st.floats(0, 99), st.floats(0.01, 2e4))
def test_a_minimised_metric_mirrors_a_maximised_one(baseline: float, relative: float, metric: float) -> None:
    up = Tolerance(baseline, relative=relative)
    down = Tolerance(baseline, relative=relative, direction="minimise")
    mirrored = 2 * baseline - metric
    assert up.budget(metric) == pytest.approx(down.budget(mirrored), abs=1e-6 * baseline)
    assert up.degradation(metric) == pytest.approx(down.degradation(mirrored), abs=1e-6 * baseline)


@given(POSITIVE, st.floats(0, 50))
def test_the_baseline_always_holds_and_the_worst_is_on_the_edge(baseline: float, absolute: float) -> None:
    tolerance = Tolerance(baseline, absolute=absolute)
    assert tolerance.budget(baseline) >= 0
    assert tolerance.budget(tolerance.worst) == 0
    assert tolerance.budget(tolerance.worst - 1e-3 * (1 + baseline)) < 0


def test_a_loss_far_above_the_baseline_does_not_hold() -> None:
    """NNCF took every lower-is-better metric as satisfied at once."""
    assert Tolerance(20.0, relative=1.0, direction="minimise").budget(90.0) == pytest.approx(-69.8)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({}, "exactly one"),
        ({"relative": 1.0, "absolute": 1.0}, "exactly one"),
        ({"relative": -1.0}, "at least 0; it is -1.0"),
        ({"absolute": math.nan}, "it is nan"),
        ({"relative": 1.0, "direction": "up"}, "'maximise', 'minimise'"),
    ],
)
def test_impossible_limits_are_refused(limits: dict[str, float], says: str) -> None:
    with pytest.raises(CompressionError, match=says):
        Tolerance(90.0, **limits)


@pytest.mark.parametrize("baseline", [0.0, -3.0])
def test_a_share_of_nothing_is_no_limit(baseline: float) -> None:
    with pytest.raises(CompressionError, match="maximal_absolute_accuracy_degradation"):
        Tolerance(baseline, relative=1.0)
    assert Tolerance(baseline, absolute=0.5).worst == baseline - 0.5


def test_a_baseline_that_is_no_number_is_refused() -> None:
    with pytest.raises(CompressionError, match="it is nan"):
        Tolerance(math.nan, absolute=0.5)


@pytest.mark.parametrize("value", [None, "0.9", (0.9,), {}])
def test_a_validation_must_return_a_number(value: object) -> None:
    if value == "0.9":
        assert checked_metric(value, 1) == 0.9
        return
    with pytest.raises(CompressionError, match="at epoch 3; it must return the metric"):
        checked_metric(value, 3)


def test_a_metric_that_is_not_finite_is_said() -> None:
    with pytest.raises(DivergedError, match="nan at epoch 3"):
        checked_metric(math.nan, 3)
