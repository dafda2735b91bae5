"""Decisions that look at several exits, against each paper's rule in plain Python: one sample, one exit at a time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import offramp as ofr
from offramp.criteria import (
    AllOf,
    AnyOf,
    Cascade,
    Certainty,
    ClassFloors,
    Coarse,
    Criterion,
    Energy,
    GeometricEnsemble,
    Gini,
    JensenShannon,
    Margin,
    MaxProbability,
    MinimumDepth,
    NormalisedEntropy,
    Patience,
    Voting,
    WeightedEnsemble,
)

EARLY, CLASSES = 4, 4
FLOORS = (0.3, 0.6, 0.45, 0.5)
WEIGHTS = ((1.0,), (0.5, 1.5), (0.0, 1.0, 1.0), (0.2, 0.4, 0.6, 0.8), (1.0, 0.0, 0.0, 0.5, 2.0))
BIASES = tuple(tuple(0.1 * c * k for c in range(CLASSES)) for k in range(EARLY + 1))
CONNECTIONS = tuple(
    tuple(tuple(0.1 * (c - k) * (1 + (c == d)) for d in range(CLASSES)) for c in range(CLASSES))
    for k in range(EARLY - 1)
)
GROUPS = (0, 1, 1, 2)

History = Sequence[Sequence[float]]
"""Logits of one sample at the exits so far."""


def softmax(logits: Sequence[float]) -> list[float]:
    largest = max(logits)
    powers = [math.exp(z - largest) for z in logits]
    return [p / sum(powers) for p in powers]


def first_of_largest(values: Sequence[float]) -> int:
    return max(range(len(values)), key=lambda c: (values[c], -c))


def pabee(history: History) -> float:
    """Zhou et al. 2020: a counter that starts at 0, grows with every repeated prediction, and falls back to 0."""
    counter, last = 0, None
    for logits in history:
        prediction = first_of_largest(logits)
        counter = counter + 1 if prediction == last else 0
        last = prediction
    return counter


def votes(history: History) -> Counter[int]:
    return Counter(first_of_largest(logits) for logits in history)


def voting_prediction(history: History) -> int:
    """The class with the most votes; of equals, the one that the last of the exits finds likelier."""
    ballots, last = votes(history), history[-1]
    return max(ballots, key=lambda c: (ballots[c], softmax(last)[c]))


def product(history: History, weights: Sequence[float], biases: Sequence[float]) -> list[float]:
    """Wolczyk et al. 2021: probabilities to the power of their weights, multiplied, times the biases, normalised."""
    values = []
    for c in range(CLASSES):
        value = math.exp(biases[c])
        for weight, logits in zip(weights, history, strict=True):
            value *= softmax(logits)[c] ** weight
        values.append(value)
    return [value / sum(values) for value in values]


def geometric(history: History) -> list[float]:
    return product(history, [1 / len(history)] * len(history), [0.0] * CLASSES)


def weighted(history: History) -> list[float]:
    return product(history, WEIGHTS[len(history) - 1], BIASES[len(history) - 1])


def cascaded(history: History) -> Sequence[float]:
    """Wolczyk et al. 2021: heads are given the earlier head's logits too; the last exit is none."""
    if len(history) > EARLY:
        return history[-1]
    found = list(history[0])
    for matrix, own in zip(CONNECTIONS, history[1:], strict=False):
        found = [z + sum(w * a for w, a in zip(row, found, strict=True)) for row, z in zip(matrix, own, strict=True)]
    return found


def jensen_shannon(history: History) -> float:
    if len(history) == 1:
        return -math.inf
    p, q = softmax(history[-1]), softmax(history[-2])
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    divergence = sum(0.5 * x * math.log2(x / m) for of in (p, q) for x, m in zip(of, middle, strict=True) if x > 0)
    return 1 - math.sqrt(max(divergence, 0.0))


def margin(logits: Sequence[float]) -> float:
    first, second = sorted(softmax(logits), reverse=True)[:2]
    return first - second


def entropy(logits: Sequence[float]) -> float:
    return -sum(p * math.log(p) for p in softmax(logits) if p > 0)


def floored(history: History) -> float:
    p = softmax(history[-1])
    return max(p) if max(p) > FLOORS[first_of_largest(p)] else -math.inf


def coarse(history: History) -> float:
    p = softmax(history[-1])
    return max(sum(x for x, g in zip(p, GROUPS, strict=True) if g == group) for group in set(GROUPS))


class Rule(NamedTuple):
    """How a paper scores, and what it answers with; by default the prediction of the exit itself."""

    criterion: Criterion
    score: Callable[[History], float]
    answer: Callable[[History], int] = lambda history: first_of_largest(history[-1])
    thresholds: tuple[float, float] = (0.2, 0.95)


RULES = {
    "PABEE": Rule(Patience(), pabee, thresholds=(0.5, 3.5)),
    "voting": Rule(Voting(), lambda h: max(votes(h).values()), voting_prediction, (0.5, 3.5)),
    "more votes deeper": Rule(
        Voting(0.5), lambda h: max(votes(h).values()) / len(h) ** 0.5, voting_prediction, (0.9, 1.45)
    ),
    "geometric": Rule(GeometricEnsemble(), lambda h: max(geometric(h)), lambda h: first_of_largest(geometric(h))),
    "ZTW": Rule(WeightedEnsemble(WEIGHTS, BIASES), lambda h: max(weighted(h)), lambda h: first_of_largest(weighted(h))),
    "ZTW's cascade": Rule(
        Cascade(MaxProbability(), CONNECTIONS),
        lambda h: max(softmax(cascaded(h))),
        lambda h: first_of_largest(cascaded(h)),
    ),
    "Jensen-Shannon": Rule(JensenShannon(), jensen_shannon),
    "energy": Rule(Energy(), lambda h: math.log(sum(math.exp(z) for z in h[-1])), thresholds=(1.0, 6.0)),
    "BERxiT": Rule(Certainty(), lambda h: 1 / (1 + math.exp(-sum(h[-1]) / len(h[-1])))),
    "DeepGini": Rule(Gini(), lambda h: sum(p * p for p in softmax(h[-1]))),
    "FastBERT": Rule(NormalisedEntropy(), lambda h: 1 - entropy(h[-1]) / math.log(CLASSES)),
    "any of": Rule(
        AnyOf((MaxProbability(), Patience()), (0.8, 1.5)),
        lambda h: 1.0 if max(softmax(h[-1])) > 0.8 or pabee(h) >= 2 else -1.0,
        thresholds=(0.0, 0.0),
    ),
    "all of": Rule(
        AllOf((Margin(), JensenShannon()), (0.3, 0.6)),
        lambda h: 1.0 if margin(h[-1]) > 0.3 and jensen_shannon(h) > 0.6 else -1.0,
        thresholds=(0.0, 0.0),
    ),
    "floor per class": Rule(ClassFloors(MaxProbability(), FLOORS), floored),
    "minimum depth": Rule(
        MinimumDepth(Margin(), 2), lambda h: margin(h[-1]) if len(h) > 2 else -math.inf, thresholds=(0.05, 0.6)
    ),
    "coarse": Rule(Coarse((GROUPS,)), coarse),
}


def naive(rule: Rule, logits: torch.Tensor, thresholds: Sequence[float]) -> tuple[list[int], list[int]]:
    """Exits and predictions of `[exits, n, classes]`."""
    exits, predictions = [], []
    for sample in logits.transpose(0, 1).tolist():
        for k in range(len(sample)):
            if k == len(thresholds) or rule.score(sample[: k + 1]) > thresholds[k]:
                exits.append(k)
                predictions.append(rule.answer(sample[: k + 1]))
                break
    return exits, predictions


@pytest.mark.parametrize("paper", RULES)
@given(seed=st.integers(0, 10**6), sharpness=st.floats(0.5, 4.0), data=st.data())
def test_simulating_follows_the_rule(paper, seed, sharpness, data):
    rule = RULES[paper]
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(60, CLASSES, generator=generator, dtype=torch.float64)
    own = torch.randn(EARLY + 1, 60, CLASSES, generator=generator, dtype=torch.float64)
    thresholds = [data.draw(st.floats(*rule.thresholds)) for _ in range(EARLY)]
    if rule.thresholds[1] >= 1.5:  # counted, so that thresholds lie halfway
        thresholds = [math.floor(t) + 0.5 for t in thresholds] if paper != "energy" else thresholds
    recording = ofr.Recording(sharpness * (shared + 0.7 * own), None, range(1, EARLY + 2))
    decided = ofr.simulate(recording, ofr.Policy(rule.criterion, thresholds))
    exits, predictions = naive(rule, recording.logits, thresholds)
    assert decided.exits.tolist() == exits
    assert decided.predictions.tolist() == predictions


@pytest.mark.parametrize("paper", RULES)
def test_the_rule_spreads_the_samples_of_the_test_above(paper):
    """Or else it would show little."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * (torch.randn(60, CLASSES, generator=generator) + 0.7 * torch.randn(5, 60, 4, generator=generator))
    low, high = RULES[paper].thresholds
    exits, _ = naive(RULES[paper], logits, [low + 0.4 * (high - low)] * EARLY)
    assert len(set(exits)) > 1
