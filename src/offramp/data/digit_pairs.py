"""Digit pairs: two noisy handwritten digits side by side, 100 classes, from scikit-learn's embedded 8x8 images.

Single digits are too easy to tell exits apart. Here a network must read both halves, through noise and wherever in
its half a digit is, so that depth pays; and an image costs so little that many seeds train in minutes. The pairs are
drawn by a generator of their own, so the same arguments give the same images on every machine.

Source of the digits: the test set of Alpaydin and Kaynak 1998, "Optical recognition of handwritten digits" (UCI).
"""

from __future__ import annotations

import torch
from torch import Tensor

from offramp.data.digits import read_scans
from offramp.data.image_data import ImageData
from offramp.data.splits import split
from offramp.errors import DataError

NAME = "digit-pairs"
CLASSES = tuple(f"{left}{right}" for left in range(10) for right in range(10))
TRAIN, TEST = 12_000, 4_000
NOISE, JITTER = 0.25, 2
POOL_SHARES = {"validation": 0.2, "test": 0.3}
"""Shares of the 1,797 digits that only validation pairs and only test pairs are made of; training has the rest."""
_STREAMS = {"train": 1, "validation": 2, "test": 3}


def load() -> tuple[ImageData, ImageData]:
    """A training part of 12,000 pairs and a test part of 4,000; no digit is in both.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    return draw("train", TRAIN), draw("test", TEST)


def draw(pool: str, pairs: int, seed: int = 0, noise: float = NOISE, jitter: int = JITTER) -> ImageData:
    """Pairs made of one pool's digits; the pools share no digit, so their pairs are unrelated.

    Args:
        pool: "train", "validation" or "test".
        pairs: how many.
        seed: another seed, other pairs; of the same digits.
        noise: standard deviation of Gaussian noise, as a share of the range from black to white.
        jitter: pixels by which each half is larger than its digit, which is anywhere in it.

    Returns:
        Images `[pairs, 1, 8 + jitter, 16 + 2 jitter]`; the label of digits l and r is 10 l + r.

    Raises:
        DataError: there is no such pool, no pair, or a negative jitter.
        MissingExtraError: scikit-learn is not installed.
    """
    if pool not in _STREAMS:
        raise DataError(f"draw(pool={pool!r}): the pools are {', '.join(_STREAMS)}.")
    if pairs < 1 or jitter < 0:
        raise DataError(f"draw(pairs={pairs}, jitter={jitter}): give at least 1 pair, and 0 or more pixels.")
    digits, labels = _pool(pool)
    generator = torch.Generator().manual_seed(10 * seed + _STREAMS[pool])
    chosen = torch.randint(len(labels), (pairs, 2), generator=generator)
    halves = [_placed(digits[chosen[:, side]], jitter, generator) for side in (0, 1)]
    clean = torch.cat(halves, dim=-1)
    noisy = clean + noise * torch.randn(clean.shape, generator=generator)
    return ImageData(
        name=NAME,
        images=(255 * noisy).round().clamp(0, 255).to(torch.uint8),
        labels=10 * labels[chosen[:, 0]] + labels[chosen[:, 1]],
        classes=CLASSES,
        provenance=f"pairs of scikit-learn's digits, pool {pool}, seed {seed}, noise {noise:g}, jitter {jitter}",
    )


def _placed(digits: Tensor, jitter: int, generator: torch.Generator) -> Tensor:
    """Digits `[n, 1, 8, 8]` on black squares that are larger by `jitter`, each at a random place."""
    side = digits.shape[-1] + jitter
    top, left = torch.randint(jitter + 1, (2, len(digits)), generator=generator)
    squares = torch.zeros(len(digits), 1, side, side)
    rows = top[:, None] + torch.arange(digits.shape[-1])
    columns = left[:, None] + torch.arange(digits.shape[-1])
    squares[torch.arange(len(digits))[:, None, None], 0, rows[:, :, None], columns[:, None, :]] = digits[:, 0]
    return squares


def _pool(name: str) -> tuple[Tensor, Tensor]:
    """Digits `[n, 1, 8, 8]` in [0, 1] and their labels `[n]`."""
    scans, labels = read_scans()
    pools = split(labels, validation=POOL_SHARES["validation"], calibration=POOL_SHARES["test"], seed=0)
    rows = {"train": pools.train, "validation": pools.validation, "test": pools.calibration}[name]
    return scans[rows] / 16, labels[rows]
