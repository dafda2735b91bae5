from __future__ import annotations

import pytest
import torch

from offramp.data import ImageData
from offramp.errors import DataError

IMAGES = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
LABELS = torch.tensor([0, 1, 1])


def test_length_and_channels(colour_images):
    assert (len(colour_images), colour_images.channels) == (30, 3)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.float(), LABELS, r"images are torch\.float32 \[3, 1, 2, 2\]; give torch\.uint8"),
        (IMAGES[:, 0], LABELS, r"images are torch\.uint8 \[3, 2, 2\]"),
        (IMAGES, LABELS.int(), r"labels are torch\.int32 \[3\]; give torch\.int64 \[3\]"),
        (IMAGES, LABELS[:2], r"labels are torch\.int64 \[2\]; give torch\.int64 \[3\]"),
        (IMAGES, LABELS + 1, r"labels run from 1 to 2, but there are 2 classes"),
        (IMAGES, LABELS - 1, r"labels run from -1 to 0"),
        (IMAGES[:0], LABELS[:0], r"there are no images"),
    ],
)
def test_parts_that_do_not_fit_are_refused_with_their_values(images, labels, message):
    with pytest.raises(DataError, match=message):
        ImageData("made up", images, labels, ("a", "b"), provenance="made up")
