"""Names are derived from classes, and two of the same name are an error."""

from __future__ import annotations

import pytest

from offramp.criteria import CRITERIA
from offramp.errors import OfframpError, PolicyError, closest
from offramp.heads import HEADS
from offramp.registry import Registry, snake_case


class Margin:
    pass


@pytest.fixture
def shapes() -> Registry[type]:
    registry: Registry[type] = Registry("shape", PolicyError)
    registry.register(Margin)
    return registry


@pytest.mark.parametrize(("name", "snake"), [("Margin", "margin"), ("MaxProbability", "max_probability"), ("A", "a")])
def test_snake_case(name, snake):
    assert snake_case(name) == snake


def test_a_member_is_found_by_its_derived_name(shapes):
    assert shapes["margin"] is Margin
    assert shapes.name_of(Margin) == "margin"
    assert (list(shapes), len(shapes), "margin" in shapes, "Margin" in shapes) == (["margin"], 1, True, False)


def test_registering_twice_is_an_error(shapes):
    with pytest.raises(PolicyError, match="shape 'margin' is registered twice; rename"):
        shapes.register(type("Margin", (), {}))
    assert shapes["margin"] is Margin


def test_an_unknown_name_gives_the_nearest(shapes):
    with pytest.raises(PolicyError, match=r"no shape 'margn'. Closest: 'margin'\."):
        shapes["margn"]


def test_an_unregistered_class_says_how(shapes):
    with pytest.raises(PolicyError, match=r"not a registered shape; decorate its class with register\(\)"):
        shapes.name_of(int)


def test_the_families():
    assert {"always", "entropy", "margin", "max_probability"} <= set(CRITERIA)
    assert {"pooled_linear", "sdn_pool"} <= set(HEADS)


def test_closest_names():
    assert closest("layer9", ["stem", "layer1"]) == "Closest: 'layer1'."
    assert closest("zzz", ["a", "b", "c", "d"]) == "Closest: 'a', 'b', 'c'."
    assert closest("x", []) == "There are none."


def test_every_error_is_an_offramp_error():
    from offramp import errors

    raised = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert len(raised) > 10
    assert all(issubclass(e, OfframpError) for e in raised)
