from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn.functional import pad

from offramp.data import Augmentation
from offramp.errors import DataError


def variants(image: torch.Tensor, padding: int) -> torch.Tensor:
    """All shifted and mirrored versions of one image `[c, h, w]`, cut out one by one."""
    padded, (_, height, width) = pad(image, (padding,) * 4), image.shape
    shifts = itertools.product(range(2 * padding + 1), repeat=2)
    crops = torch.stack([padded[:, y : y + height, x : x + width] for y, x in shifts])
    return torch.cat([crops, crops.flip(-1)])


def test_every_image_becomes_one_of_its_own_variants_and_every_variant_occurs(colour_images):
    torch.manual_seed(0)
    image = colour_images.images[0]
    augmented = Augmentation(padding=1)(image.expand(600, -1, -1, -1))
    matches = (augmented[:, None] == variants(image, 1)[None]).flatten(2).all(-1)
    assert bool(matches.any(dim=1).all())
    # 18 variants, 33 of each expected in 600; the seed is fixed.
    counts = matches.sum(dim=0)
    assert int(counts.min()) > 15
    assert int(counts.max()) < 60


def test_images_of_a_batch_are_not_mixed_up(colour_images):
    torch.manual_seed(0)
    augmented = Augmentation(padding=2)(colour_images.images)
    for image, result in zip(colour_images.images, augmented, strict=True):
        assert bool((variants(image, 2) == result).flatten(1).all(-1).any())


def test_each_image_is_drawn_on_its_own(colour_images):
    torch.manual_seed(0)
    same = colour_images.images[:1].expand(50, -1, -1, -1)
    assert len(Augmentation()(same).flatten(1).unique(dim=0)) > 20


def test_nothing_asked_for_is_nothing_done(colour_images):
    images = colour_images.images
    assert torch.equal(Augmentation(padding=0, flip=False)(images), images)


def test_without_flip_no_image_is_mirrored(colour_images):
    torch.manual_seed(0)
    image = colour_images.images[0]
    augmented = Augmentation(padding=0, flip=False)(image.expand(20, -1, -1, -1))
    mirrored = Augmentation(padding=0, flip=True)(image.expand(20, -1, -1, -1))
    assert torch.equal(augmented, image.expand(20, -1, -1, -1))
    assert 0 < int((mirrored == image.flip(-1)).flatten(1).all(-1).sum()) < 20


def test_type_shape_and_the_original_stay(colour_images):
    before = colour_images.images.clone()
    augmented = Augmentation()(colour_images.images)
    assert (augmented.dtype, augmented.shape) == (torch.uint8, before.shape)
    assert torch.equal(colour_images.images, before)


def test_negative_padding_is_refused():
    with pytest.raises(DataError, match=r"Augmentation\(padding=-1\)"):
        Augmentation(padding=-1)
