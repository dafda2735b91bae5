from __future__ import annotations

import pytest
import torch

from offramp.data import Normalisation
from offramp.errors import DataError


def test_statistics_are_those_of_the_pixels(colour_images):
    pixels = colour_images.images.double() / 255
    expected = torch.std_mean(pixels, dim=(0, 2, 3), correction=0)
    found = Normalisation.of(colour_images.images)
    torch.testing.assert_close(torch.tensor(found.std, dtype=torch.float64), expected[0])
    torch.testing.assert_close(torch.tensor(found.mean, dtype=torch.float64), expected[1])


def test_normalised_images_have_mean_zero_and_spread_one_per_channel(colour_images):
    images = Normalisation.of(colour_images.images)(colour_images.images)
    assert images.dtype == torch.float32
    std, mean = torch.std_mean(images, dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(std, torch.ones(3))


def test_given_statistics_are_applied_as_the_formula_says():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    normalised = Normalisation(mean=(0.2,), std=(0.5,))(images)
    torch.testing.assert_close(normalised.flatten(), torch.tensor([-0.4, 0.0, 1.6]))


def test_a_channel_without_contrast_is_only_shifted():
    flat = torch.full((2, 1, 3, 3), 51, dtype=torch.uint8)
    normalisation = Normalisation.of(flat)
    assert normalisation.std == (1.0,)
    torch.testing.assert_close(normalisation(flat), torch.zeros(2, 1, 3, 3))


def test_the_images_themselves_are_left_alone(colour_images):
    before = colour_images.images.clone()
    Normalisation.of(before)(colour_images.images)
    assert torch.equal(colour_images.images, before)


def test_no_images_have_no_statistics():
    with pytest.raises(DataError, match="there are no images"):
        Normalisation.of(torch.empty(0, 1, 2, 2, dtype=torch.uint8))
