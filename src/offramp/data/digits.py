"""Handwritten digits that come with scikit-learn: 1,797 images of 8x8, the embedded fallback. BSD licence.

They are enlarged to 28x28 so that networks for Fashion-MNIST run on them unchanged. They are far too easy to
say anything about early exits: good for a smoke test only.

Source: the test set of Alpaydin and Kaynak 1998, "Optical recognition of handwritten digits" (UCI).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from offramp.data.image_data import ImageData
from offramp.data.splits import split
from offramp.errors import MissingExtraError

NAME = "digits"
CLASSES = tuple(str(digit) for digit in range(10))
SIZE = 28
TEST_SHARE = 0.2
SEED = 0


def load() -> tuple[ImageData, ImageData]:
    """The training part (1,438 images) and the test part (359), stratified with a fixed seed.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    scans, labels = read_scans()
    images = _enlarged(scans)
    parts = split(labels, validation=TEST_SHARE, calibration=0, seed=SEED)
    return _part(images, labels, parts.train), _part(images, labels, parts.validation)


def _enlarged(values: Tensor) -> Tensor:
    """Bytes `[n, 1, 28, 28]` of values in [0, 16], `[n, 1, 8, 8]`."""
    larger = interpolate(values * (255 / 16), size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    return larger.round().clamp(0, 255).to(torch.uint8)


def _part(images: Tensor, labels: Tensor, indices: Tensor) -> ImageData:
    return ImageData(
        name=NAME,
        images=images[indices],
        labels=labels[indices],
        classes=CLASSES,
        provenance=f"scikit-learn load_digits, 8x8 enlarged to {SIZE}x{SIZE}, split with seed {SEED}",
    )


def read_scans() -> tuple[Tensor, Tensor]:
    """All of scikit-learn's digits: `[n, 1, 8, 8]` from 0 to 16, and their labels `[n]`.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError(
            "The digits need scikit-learn, which is not installed. Run: pip install 'offramp[data]'"
        ) from error
    values, targets = load_digits(return_X_y=True)
    scans = torch.as_tensor(values, dtype=torch.float32).reshape(-1, 1, 8, 8)
    return scans, torch.as_tensor(targets, dtype=torch.int64)
