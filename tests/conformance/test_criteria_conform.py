"""Every registered criterion passes the kit; a new file is tested by existing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from offramp.criteria import (
    CRITERIA,
    Criterion,
    Entropy,
    GeometricEnsemble,
    Margin,
    MaxProbability,
    Patience,
    Voting,
    register,
)
from offramp.errors import PolicyError
from offramp.testing import CRITERION_CHECKS, check_criterion

FLOORS = tuple(0.1 + 0.01 * c for c in range(10))
GATE = {"layers": ((((3.0, 0.0, 0.5, 2.0, 1.0),) * 2, (-1.0, 0.3)), (((1.0, -0.5),), (0.1,))), "classes": 10, "top": 3}
PARAMETERS: dict[str, dict[str, object]] = {
    "always": {"exit": 1},
    "all_of": {"members": (MaxProbability(), Entropy(), Patience()), "thresholds": (0.5, -1.5, 0.5)},
    "any_of": {"members": (Voting(), Margin()), "thresholds": (1.5, 0.0)},
    "cascade": {"criterion": GeometricEnsemble(), "connections": (tuple(FLOORS for _ in range(10)),)},
    "class_floors": {"criterion": MaxProbability(), "values": FLOORS},
    "class_thresholds": {"criterion": Margin(), "values": FLOORS},
    "coarse": {"groups": ((0, 0, 1, 1, 2, 2, 3, 3, 4, 4), (0, 0, 0, 0, 0, 0, 1, 1, 1, 1))},
    "gate": GATE,
    "minimum_depth": {"criterion": Patience(), "depth": 1},
    "per_exit": {"members": (Margin(), Patience())},
    "weighted_ensemble": {"weights": ((1.0,), (0.5, 1.0), (0.0, 0.5, 2.0)), "biases": (FLOORS,) * 3},
}
"""For criteria that cannot be built without parameters: for two early exits and 10 classes."""


@pytest.mark.parametrize("check", CRITERION_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", CRITERIA)
def test_conforms(name, check):
    check(CRITERIA[name](**PARAMETERS.get(name, {})))


class Broken(MaxProbability):
    """A criterion that is right but for what a test overrides."""


def broken(**overrides: object) -> Criterion:
    return type("Broken", (Broken,), overrides)()


def good(logits: Tensor) -> Tensor:
    return logits.softmax(-1).max(-1).values


@pytest.mark.parametrize(
    ("check", "score"),
    [
        ("scores_have_one_value_per_row", lambda self, logits, earlier=(): good(logits).unsqueeze(1)),
        ("scores_have_one_value_per_row", lambda self, logits, earlier=(): good(logits).float()),
        ("scores_have_one_value_per_row", lambda self, logits, earlier=(): good(logits) / 0),
        ("scores_have_one_value_per_row", lambda self, logits, earlier=(): good(logits) * float("nan")),
        ("scores_stay_on_the_device", lambda self, logits, earlier=(): good(logits).to("cpu")),
        ("surer_logits_score_higher", lambda self, logits, earlier=(): -good(logits)),
        ("surer_logits_score_higher", lambda self, logits, earlier=(): good(logits.sub_(1.0))),
        ("scores_depend_on_the_row_alone", lambda self, logits, earlier=(): good(logits - logits.mean(0))),
        ("scores_depend_on_the_row_alone", lambda self, logits, earlier=(): good(logits).cumsum(0)),
        ("unusable_logits_score_nan", lambda self, logits, earlier=(): good(logits).nan_to_num(1.0)),
        ("unusable_logits_score_nan", lambda self, logits, earlier=(): good(logits) + 0 * logits.sum()),
        ("scores_can_be_exported", lambda self, logits, earlier=(): torch.stack([good(row) for row in logits])),
        (
            "scores_can_be_exported",
            lambda self, logits, earlier=(): good(logits) if logits[0, 0] > 0 else good(-logits),
        ),
    ],
)
def test_the_kit_finds_a_score_that_is_wrong(check, score):
    """So that the tests above cannot be hollow."""
    found = {c.__name__: c for c in CRITERION_CHECKS}[check]
    found(MaxProbability())
    with pytest.raises((AssertionError, RuntimeError, NotImplementedError, torch._dynamo.exc.UserError)):
        found(broken(score=score))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"answer": lambda self, logits, earlier=(): 2 * logits}, "does not say so"),
        ({"answer": lambda self, logits, earlier=(): logits[:, :2], "combines": True}, "give answers"),
        ({"answer": lambda self, logits, earlier=(): logits.float(), "combines": True}, "give torch.float32 answers"),
        ({"answer": lambda self, logits, earlier=(): logits / 0, "combines": True}, "answers that are not"),
        ({"answer": lambda self, logits, earlier=(): 2 * logits, "combines": True}, "must read the earlier"),
        (
            {"answer": lambda self, z, earlier=(): z - z.mean(0), "combines": True, "uses_earlier": True},
            "answered otherwise when it is alone",
        ),
        ({"check": lambda self, early, classes: refuse()}, "refuses a model"),
        ({"judge": lambda self, z, earlier=(): (self.score(z) / 2, z)}, "scores otherwise than"),
        ({"judge": lambda self, z, earlier=(): (self.score(z), 2 * z)}, "answers otherwise than"),
    ],
)
def test_the_kit_finds_an_answer_that_is_wrong(overrides, message):
    with pytest.raises(AssertionError, match=message):
        check_criterion(broken(**overrides))


def refuse() -> None:
    raise PolicyError("for nobody")


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (lambda self, classes, size: [i / size for i in range(size)], "strictly"),
        (lambda self, classes, size: [0.5] * size, "strictly"),
        (lambda self, classes, size: [], "thresholds"),
        (lambda self, classes, size: [2.0 - i / size for i in range(size)], "no row"),
    ],
    ids=["loose first", "constant", "empty", "out of reach"],
)
def test_the_kit_finds_a_grid_that_is_wrong(grid, message):
    with pytest.raises(AssertionError, match=message):
        check_criterion(broken(grid=grid))


def test_the_kit_finds_a_parameter_that_is_not_written(monkeypatch):
    monkeypatch.setattr(CRITERIA, "_members", dict(CRITERIA._members))

    @register
    @dataclass(frozen=True)
    class Forgetful(MaxProbability):
        power: float = 1.0

        def to_dict(self) -> dict[str, object]:
            return {"name": "forgetful"}

    check_criterion(Forgetful())
    with pytest.raises(AssertionError, match=r"power=2\.0"):
        check_criterion(Forgetful(power=2.0))


def test_a_criterion_of_ones_own_that_reads_earlier_exits_passes(monkeypatch):
    monkeypatch.setattr(CRITERIA, "_members", dict(CRITERIA._members))

    @register
    @dataclass(frozen=True)
    class Ensemble(MaxProbability):
        uses_earlier = True

        def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
            return good(torch.stack([logits, *earlier]).mean(0))

    check_criterion(Ensemble())
