"""Stratified division of a training part into train, validation and calibration, and stratified shares of these."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from offramp.errors import DataError


@dataclass(frozen=True)
class Splits:
    """Which sample is used for what.

    Train, validation and calibration are disjoint sets of indices into the training part, each in ascending
    order; test indexes the test part, which is a file of its own and is never divided.

    Args:
        train: int64 `[n]`, what weights are fitted on.
        validation: int64 `[n]`, what checkpoints are chosen on.
        calibration: int64 `[n]`, what thresholds and temperatures are chosen on, and risk is certified on.
        test: int64 `[n]`, all of the test part; touched once.
        seed: what the division was drawn with.
    """

    train: Tensor
    validation: Tensor
    calibration: Tensor
    test: Tensor
    seed: int

    def record(self) -> dict[str, Any]:
        """What to keep with the results, as plain data: seed, sizes, and a digest of the indices."""
        parts = {name: getattr(self, name) for name in ("train", "validation", "calibration", "test")}
        digest = hashlib.sha256(b"|".join(part.numpy().tobytes() for part in parts.values()))
        return {
            "seed": self.seed,
            "stratified": True,
            "sizes": {name: len(part) for name, part in parts.items()},
            "sha256": digest.hexdigest(),
        }


def split(
    labels: Tensor,
    *,
    validation: int | float,
    calibration: int | float,
    train: int | float | None = None,
    test: int = 0,
    seed: int = 0,
) -> Splits:
    """Divides a training part so that every split has the classes in the proportions of the whole.

    The division is a pure function of its arguments: it has its own generator, and leaves torch's alone.

    Args:
        labels: int64 `[n]` of the training part.
        validation: how many samples, as a count (int), or as a share of n in [0, 1) (float).
        calibration: likewise.
        train: likewise; None for all the rest. What nobody asks for is left unused.
        test: size of the test part.
        seed: another seed, another division.

    Raises:
        DataError: the sizes are negative or exceed what there is, or nothing is left to train on.

    Example:
        >>> parts = split(torch.arange(100) % 10, validation=20, calibration=0.3, seed=1)
        >>> parts.record()["sizes"]
        {'train': 50, 'validation': 20, 'calibration': 30, 'test': 0}
    """
    total = len(labels)
    held_out = {
        "validation": _count("validation", validation, total),
        "calibration": _count("calibration", calibration, total),
    }
    rest = total - sum(held_out.values())
    sizes = {**held_out, "train": rest if train is None else _count("train", train, total)}
    _check(sizes, total)
    parts = _draw(labels, sizes, seed)
    return Splits(**parts, test=torch.arange(test), seed=seed)


def reduced(
    splits: Splits,
    labels: Tensor,
    test_labels: Tensor,
    *,
    train: float = 1.0,
    validation: float = 1.0,
    calibration: float = 1.0,
    test: float = 1.0,
) -> Splits:
    """A share of each split, with the classes in the proportions of the whole; drawn with the splits' own seed.

    Args:
        splits: from `split`.
        labels: int64 `[n]` of the training part.
        test_labels: int64 `[n]` of the test part.
        train: share of the train split in (0, 1]; at least one sample is kept of a split that has any.
        validation: likewise.
        calibration: likewise.
        test: likewise.

    Raises:
        DataError: a share is not in (0, 1].

    Example:
        >>> labels = torch.arange(100) % 10
        >>> parts = split(labels, validation=20, calibration=0, test=50)
        >>> reduced(parts, labels, labels[:50], train=0.5, test=0.2).record()["sizes"]
        {'train': 40, 'validation': 20, 'calibration': 0, 'test': 10}
    """
    shares = {"train": train, "validation": validation, "calibration": calibration, "test": test}
    kept = {
        name: _share_of(name, getattr(splits, name), test_labels if name == "test" else labels, share, splits.seed)
        for name, share in shares.items()
    }
    return Splits(**kept, seed=splits.seed)


def _share_of(name: str, indices: Tensor, labels: Tensor, share: float, seed: int) -> Tensor:
    if not 0 < share <= 1:
        raise DataError(f"{name}={share!r}: give the share of the {name} split to use, above 0 and at most 1.")
    if share == 1 or not len(indices):
        return indices
    return indices[_draw(labels[indices], {"kept": max(round(share * len(indices)), 1)}, seed)["kept"]]


def _count(name: str, size: int | float, total: int) -> int:
    if isinstance(size, bool) or size < 0 or (isinstance(size, float) and not size < 1):
        raise DataError(f"{name}={size!r}: give a count (a whole number from 0), or a share in [0.0, 1.0).")
    return round(size * total) if isinstance(size, float) else size


def _check(sizes: dict[str, int], total: int) -> None:
    described = ", ".join(f"{name} {size}" for name, size in sizes.items())
    if sizes["train"] < 1:
        raise DataError(f"Nothing is left to train on: {described} of {total} samples. Hold out fewer.")
    if sum(sizes.values()) > total:
        raise DataError(f"The splits ask for more than the {total} samples there are: {described}. Ask for less.")


def _draw(labels: Tensor, sizes: dict[str, int], seed: int) -> dict[str, Tensor]:
    remaining = _shuffled_by_class(labels, torch.Generator().manual_seed(seed))
    parts = {}
    for name, size in sizes.items():
        taken = _apportioned([len(members) for members in remaining], size)
        pairs = list(zip(remaining, taken, strict=True))
        parts[name] = torch.cat([members[:count] for members, count in pairs]).sort().values
        remaining = [members[count:] for members, count in pairs]
    return parts


def _shuffled_by_class(labels: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Indices of each class that occurs, in random order."""
    classes = ((labels == label).nonzero().flatten() for label in sorted(set(labels.tolist())))
    return [members[torch.randperm(len(members), generator=generator)] for members in classes]


def _apportioned(counts: list[int], size: int) -> list[int]:
    """How many of each class make up `size`: in proportion, rounded by largest remainders to the exact sum."""
    total = max(sum(counts), 1)
    shares = [count * size // total for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda i: counts[i] * size % total, reverse=True)
    for i in by_remainder[: size - sum(shares)]:
        shares[i] += 1
    return shares
