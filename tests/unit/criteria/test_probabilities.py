"""The softmax written out is the softmax."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from offramp.criteria.probabilities import odds_to_the_surest, softmax, softmax_and_logarithm

INF = math.inf


@given(seed=st.integers(0, 10**6), classes=st.integers(1, 40), spread=st.floats(0.01, 50), rows=st.integers(1, 70))
def test_it_is_torchs_softmax_and_a_row_does_not_depend_on_the_others(
    seed: int, classes: int, spread: float, rows: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, classes, generator=generator) * spread
    exact = logits.double().softmax(dim=1)
    p, log_p = softmax_and_logarithm(logits)
    torch.testing.assert_close(softmax(logits).double(), exact, rtol=1e-5, atol=1e-30)
    torch.testing.assert_close(p.double(), exact, rtol=1e-5, atol=1e-30)
    torch.testing.assert_close(log_p.double(), logits.double().log_softmax(dim=1), rtol=1e-5, atol=1e-5)
    alone = torch.cat([softmax(row[None]) for row in logits])
    assert torch.equal(softmax(logits), alone)
    assert torch.equal(log_p, torch.cat([softmax_and_logarithm(row[None])[1] for row in logits]))


@pytest.mark.parametrize("row", [[0.0, -INF, -INF], [1e30, -1e30, 0.0], [88.0, -88.0, 88.0], [5.0]])
def test_extremes_are_exact(row: list[float]) -> None:
    logits = torch.tensor([row])
    assert torch.equal(softmax(logits), logits.softmax(dim=1))
    assert torch.equal(softmax_and_logarithm(logits)[1], logits.log_softmax(dim=1))


@pytest.mark.parametrize("row", [[math.nan, 0.0], [INF, 0.0], [-INF, -INF]])
def test_what_has_no_softmax_is_nan(row: list[float]) -> None:
    logits = torch.tensor([row])
    assert logits.softmax(dim=1).isnan().any()
    assert softmax(logits).isnan().any()
    assert softmax_and_logarithm(logits)[1].isnan().any()


def test_the_surest_has_odds_of_one() -> None:
    odds = odds_to_the_surest(torch.tensor([[0.0, math.log(2.0), -INF]]))
    torch.testing.assert_close(odds, torch.tensor([[0.5, 1.0, 0.0]]))
