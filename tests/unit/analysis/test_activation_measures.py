from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from offramp.analysis import cka, cka_matrix, information, information_sweep, spectrum
from offramp.errors import AnalysisError


def clusters(count: int, each: int, apart: float) -> torch.Tensor:
    return (apart * torch.eye(count, 6)).repeat_interleave(each, dim=0)


def test_samples_far_apart_hold_all_there_is():
    found = information(clusters(4, 1, 1e4), sigma=1.0)
    assert found.nats == found.low == pytest.approx(math.log(4))
    assert found.share == pytest.approx(1.0)
    assert found.saturated


def test_a_layer_that_forgets_all_but_the_class_holds_the_class():
    found = information(clusters(4, 5, 1e4), sigma=1.0)
    assert found.nats == pytest.approx(math.log(4))
    assert found.low == pytest.approx(math.log(4))
    assert found.samples == 20
    assert not found.saturated


def test_samples_that_are_the_same_hold_nothing():
    assert information(torch.ones(5, 3), sigma=0.1).nats == pytest.approx(0.0, abs=1e-12)


def test_the_truth_lies_between_the_bounds():
    """Two points: the mutual information of a binary input and a Gaussian channel, integrated numerically."""
    distance, sigma = 2.0, 1.0
    z = torch.linspace(-12, 14, 200_001, dtype=torch.float64)
    densities = torch.stack([torch.exp(-((z - m) ** 2) / 2) / math.sqrt(2 * math.pi) for m in (0.0, distance)])
    mixture = densities.mean(dim=0)
    truth = float(torch.trapezoid((densities * (densities / mixture).log()).mean(dim=0), z))
    found = information(torch.tensor([[0.0], [distance]]), sigma)
    assert found.low <= truth <= found.nats
    assert found.nats - found.low < 0.4


@given(st.integers(0, 100))
def test_more_noise_is_less_information(seed):
    features = torch.randn(12, 5, generator=torch.Generator().manual_seed(seed))
    swept = [found.nats for found in information_sweep(features, [0.01, 0.1, 1.0, 10.0])]
    assert swept == sorted(swept, reverse=True)
    assert all(0 <= nats <= math.log(12) + 1e-9 for nats in swept)


@pytest.mark.parametrize(
    ("features", "sigma"),
    [
        (torch.ones(1, 3), 1.0),
        (torch.full((3, 2), math.nan), 1.0),
        (torch.ones(3, 2), 0.0),
        (torch.ones(3, 2), math.inf),
    ],
)
def test_impossible_information_is_refused(features, sigma):
    with pytest.raises(AnalysisError):
        information(features, sigma)


@given(st.integers(1, 5), st.integers(0, 100))
def test_the_rank_of_a_product_is_that_of_its_factors(rank, seed):
    generator = torch.Generator().manual_seed(seed)
    left, right = torch.randn(30, rank, generator=generator), torch.randn(rank, 12, generator=generator)
    found = spectrum((left @ right).double() + 7.0)
    assert found.rank(1e-9) == rank
    assert 1 <= found.effective <= rank + 1e-6


def test_equal_directions_have_the_effective_rank_of_their_number():
    points = torch.cat([torch.eye(4), -torch.eye(4)])
    found = spectrum(points)
    assert found.effective == pytest.approx(4.0)
    assert found.rank() == 4


def test_the_curve_counts_eigenvalues_above_each_tolerance():
    scales = torch.tensor([1.0, 0.1, 0.01])
    points = torch.cat([torch.diag(scales), -torch.diag(scales)])
    # Variances are squares: 1, 1e-2, 1e-4 of the largest.
    assert spectrum(points).curve([0.5, 5e-3, 5e-5]) == [1, 2, 3]


def test_both_gram_matrices_have_the_same_spectrum():
    wide = torch.randn(10, 40, generator=torch.Generator().manual_seed(0))
    found = spectrum(wide)
    covariance = torch.linalg.eigvalsh(torch.cov(wide.double().T)).flip(0)
    torch.testing.assert_close(found.values, covariance[:9], atol=1e-9, rtol=1e-6)
    assert spectrum(wide[:, :5]).values.shape == (5,)


def test_constant_activations_have_no_rank():
    found = spectrum(torch.ones(5, 3))
    assert (found.rank(), found.effective) == (0, 0.0)


def test_many_features_are_drawn_from(monkeypatch):
    monkeypatch.setattr("offramp.analysis.rank.MOST_FEATURES", 3)
    assert spectrum(torch.randn(5, 10)).features == 3
    with pytest.raises(AnalysisError, match="at least two samples"):
        spectrum(torch.ones(1, 3))


@given(st.integers(0, 100))
def test_cka_ignores_rotation_scale_and_shift(seed):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(9, 4, generator=generator)
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=generator)).Q
    assert cka(points, 3.0 * points @ rotation + 5.0) == pytest.approx(1.0, abs=1e-5)


def test_cka_of_unrelated_directions_is_zero():
    first = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    second = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    assert cka(first, second) == pytest.approx(0.0, abs=1e-12)
    matrix = cka_matrix([first, second, first + second])
    assert torch.equal(matrix, matrix.T)
    assert float(matrix[0, 2]) == pytest.approx(0.5)


def test_impossible_similarities_are_refused():
    with pytest.raises(AnalysisError, match="same samples"):
        cka(torch.ones(3, 2), torch.ones(4, 2))
    with pytest.raises(AnalysisError, match="the same for all samples"):
        cka(torch.ones(3, 2), torch.randn(3, 2))
