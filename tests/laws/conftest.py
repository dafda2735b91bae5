"""What the laws range over: policies of every kind, with thresholds among the scores that really occur."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

import offramp as ofr
from offramp.criteria import (
    AllOf,
    AnyOf,
    Cascade,
    ClassFloors,
    ClassThresholds,
    Coarse,
    Criterion,
    Energy,
    Entropy,
    Gate,
    GeometricEnsemble,
    Gini,
    JensenShannon,
    Margin,
    MaxProbability,
    MinimumDepth,
    NormalisedEntropy,
    Patience,
    PerExit,
    Random,
    Voting,
    WeightedEnsemble,
)


@dataclass(frozen=True)
class SoftAgreement(Criterion):
    """`sum_c p_c q_c`, q the softmax of the exit before: needs the earlier logits of just the rows still running."""

    uses_earlier: ClassVar[bool] = True

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        before = earlier[-1] if earlier else logits
        return (logits.softmax(-1) * before.softmax(-1)).sum(-1)

    def grid(self, classes: int, size: int) -> list[float]:
        return [1 - i / size for i in range(size)]


FLOORS = (0.1, 0.3, 0.2, 0.4)
"""The tiny networks have four classes."""


def criteria(early: int) -> list[Criterion]:
    """One of every kind, for a model with so many early exits."""
    gate = Gate(((((2.0, 0.5, 1.0, 1.0),), (-1.0,)),), classes=4, top=2)
    weights = tuple(tuple(0.5 + (j == k) for j in range(k + 1)) for k in range(early + 1))
    return [
        MaxProbability(),
        Entropy(),
        Margin(),
        Energy(),
        Gini(),
        NormalisedEntropy(),
        SoftAgreement(),
        JensenShannon(),
        Patience(),
        Voting(),
        GeometricEnsemble(),
        GeometricEnsemble(Margin()),
        WeightedEnsemble(weights, (FLOORS,) * (early + 1)),
        Cascade(GeometricEnsemble(), (tuple((0.3 * k, 1.0, -0.5, 0.2) for k in range(4)),) * (early - 1)),
        Random(seed=3),
        AnyOf((Margin(), JensenShannon()), (0.5, 0.7)),
        AllOf((Gini(), GeometricEnsemble()), (0.3, 0.4)),
        ClassFloors(Margin(), FLOORS),
        ClassThresholds(GeometricEnsemble(), FLOORS),
        MinimumDepth(Margin(), depth=early - 1),
        Coarse(((0, 1, 1, 2), (0, 0, 0, 1))),
        PerExit(tuple((gate, Margin())[k % 2] for k in range(early))),
    ]


ENDS = [float("inf"), float("-inf")]


def scores(recording: ofr.Recording, policy: ofr.Policy) -> Tensor:
    """Scores `[early exits, n]` of all rows at all early exits."""
    early = recording.logits[:-1]
    return torch.stack([policy.score(k, logits, early[:k].unbind()) for k, logits in enumerate(early)])


@st.composite
def policies(draw: st.DrawFn, recording: ofr.Recording) -> ofr.Policy:
    """Any policy: always(), or a criterion with temperatures and thresholds between two neighbouring scores."""
    early = recording.exits - 1
    if draw(st.integers(0, 9)) == 9:
        return ofr.always(draw(st.integers(0, early)))
    temperatures = draw(st.none() | st.lists(st.floats(0.2, 5.0), min_size=early, max_size=early))
    closed = ofr.Policy(draw(st.sampled_from(criteria(early))), [float("inf")] * early, temperatures)
    thresholds = []
    for values in scores(recording, closed):
        # Counts and votes are the same for many rows: between different ones only.
        ordered = values[values.isfinite()].unique()
        middles = ((ordered[1:] + ordered[:-1]) / 2).tolist() or ENDS
        thresholds.append(draw(st.sampled_from(ENDS) | st.sampled_from(middles) | st.sampled_from(middles)))
    return replace(closed, thresholds=tuple(thresholds))


def recorded(model: ofr.ExitModel, inputs: object) -> ofr.Recording:
    """Logits of every exit on these inputs, as `record` would give them."""
    with torch.no_grad():
        logits = torch.stack(model(inputs))
    return ofr.Recording(logits, None, model.cost.macs, model.cost.head_macs)


def clear_rows(recording: ofr.Recording, policy: ofr.Policy, within: float = 1e-6) -> Tensor:
    """Mask `[n]` of the rows with no score so near a threshold that rounding may decide."""
    if not policy.thresholds:
        return torch.ones(recording.samples, dtype=torch.bool)
    distance = scores(recording, policy) - torch.tensor(policy.thresholds).unsqueeze(1)
    # Chance is meant to jump about where a confidence would not move.
    within = 1e-3 if isinstance(policy.criterion, Random) else within
    return (~(distance.abs() <= within)).all(dim=0) & _clear_votes(recording, policy)


def _clear_votes(recording: ofr.Recording, policy: ofr.Policy, within: float = 1e-5) -> Tensor:
    """Rows with no exit whose two leading classes are so near that rounding may decide between them."""
    top = recording.answers(policy).topk(2).values
    own = recording.logits.topk(2).values
    return ((top[..., 0] - top[..., 1] > within) & (own[..., 0] - own[..., 1] > within)).all(dim=0)


# Test modules cannot import a conftest, so its functions reach them as fixtures.


@pytest.fixture(scope="session")
def any_policy() -> Callable[[ofr.Recording], st.SearchStrategy[ofr.Policy]]:
    return policies


@pytest.fixture(scope="session")
def record_on() -> Callable[[ofr.ExitModel, object], ofr.Recording]:
    return recorded


@pytest.fixture(scope="session")
def far_from_thresholds() -> Callable[[ofr.Recording, ofr.Policy], Tensor]:
    return clear_rows


@pytest.fixture(scope="session")
def soft_agreement() -> Criterion:
    return SoftAgreement()
