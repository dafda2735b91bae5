"""Our decisions against each paper's rule, written as its authors state it: sample by sample, in Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import offramp as ofr
from offramp.criteria import Entropy, Margin, MaxProbability

Rule = Callable[[list[float], float], bool]
"""Whether a sample with these probabilities exits, given the paper's own threshold."""


def softmax(logits: Sequence[float]) -> list[float]:
    largest = max(logits)
    powers = [math.exp(z - largest) for z in logits]
    return [p / sum(powers) for p in powers]


def msdnet_exits(probabilities: list[float], threshold: float) -> bool:
    """Huang et al. 2018, section 4: "exits ... if its prediction confidence exceeds a pre-determined threshold"."""
    return max(probabilities) > threshold


def branchynet_exits(probabilities: list[float], threshold: float) -> bool:
    """Teerapittayanon et al. 2016, algorithm 1: `e <- entropy(y); if e < T_n: return argmax y`."""
    entropy = -sum(p * math.log(p) for p in probabilities if p > 0)
    return entropy < threshold


def calm_exits(probabilities: list[float], threshold: float) -> bool:
    """Schuster et al. 2022, section 3.2: the difference between the top two values of the softmax."""
    first, second = sorted(probabilities, reverse=True)[:2]
    return first - second > threshold


RULES = {
    "MSDNet": (MaxProbability(), msdnet_exits, lambda t: t),
    "BranchyNet": (Entropy(), branchynet_exits, lambda t: -t),
    "CALM": (Margin(), calm_exits, lambda t: t),
}
"""Paper: our criterion, its rule, and the paper's threshold as ours."""


def naive(rule: Rule, logits: torch.Tensor, thresholds: Sequence[float]) -> tuple[list[int], list[int]]:
    """Exits and predictions of `[exits, n, classes]`, sample after sample."""
    exits, predictions = [], []
    for sample in logits.transpose(0, 1).tolist():
        for k, z in enumerate(sample):
            if k == len(thresholds) or rule(softmax(z), thresholds[k]):
                exits.append(k)
                predictions.append(max(range(len(z)), key=z.__getitem__))
                break
    return exits, predictions


@pytest.mark.parametrize("paper", RULES)
@given(
    seed=st.integers(0, 10**6),
    classes=st.integers(2, 12),
    sharpness=st.floats(0.5, 6.0),
    thresholds=st.lists(st.floats(0.02, 0.98), min_size=1, max_size=4),
)
def test_simulating_follows_the_published_rule(paper, seed, classes, sharpness, thresholds):
    criterion, rule, ours = RULES[paper]
    generator = torch.Generator().manual_seed(seed)
    logits = sharpness * torch.randn(len(thresholds) + 1, 60, classes, generator=generator, dtype=torch.float64)
    recording = ofr.Recording(logits, None, range(1, len(thresholds) + 2))
    decided = ofr.simulate(recording, ofr.Policy(criterion, [ours(t) for t in thresholds]))
    exits, predictions = naive(rule, logits, thresholds)
    assert decided.exits.tolist() == exits
    assert decided.predictions.tolist() == predictions


@pytest.mark.parametrize("paper", RULES)
@given(seed=st.integers(0, 10**6), quantile=st.floats(0.1, 0.9))
def test_the_runtime_follows_the_published_rule(paper, tiny_resnet, seed, quantile):
    criterion, rule, ours = RULES[paper]
    # In double precision no score is so near its threshold that the two ways of computing it could differ.
    model, inputs = tiny_resnet.attach().double(), tiny_resnet.batch(20, seed).double()
    with torch.no_grad():
        logits = torch.stack(model(inputs))
    thresholds = [ours(float(criterion.score(z).quantile(quantile + 0.003))) for z in logits[:-1]]
    taken = ofr.deploy(model, ofr.Policy(criterion, [ours(t) for t in thresholds]))(inputs)
    exits, predictions = naive(rule, logits, thresholds)
    assert taken.exits.tolist() == exits
    assert taken.predictions.tolist() == predictions


def test_the_sign_of_the_entropy_is_the_only_difference():
    """A sample of entropy .65 nats leaves under BranchyNet's T = .66 and stays under T = .64."""
    logits = torch.tensor([[0.6, 0.0]], dtype=torch.float64)
    entropy = -sum(p * math.log(p) for p in softmax([0.6, 0.0]))
    assert 0.649 < entropy < 0.651
    assert ofr.Policy(Entropy(), [-0.66]).leaves(0, -0.66, logits).tolist() == [True]
    assert ofr.Policy(Entropy(), [-0.64]).leaves(0, -0.64, logits).tolist() == [False]
