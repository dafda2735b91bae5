"""The images of a run: found by the kind of network, divided, and batched."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from offramp import data as sets
from offramp.cli.classify_options import ClassifyOptions
from offramp.data import ImageData, Normalisation
from offramp.errors import DataError

Loader = Iterable[Any]


@dataclass(frozen=True, eq=False)
class Images:
    """What a run is fed.

    Attributes:
        name: of the set.
        classes: what the labels mean.
        example: `[1, channels, height, width]`, as the network gets it.
        train: shuffled and augmented batches.
        validation: None where nothing is held out.
        calibration: None where no thresholds are to be chosen.
        test: batches in order, as those of validation and calibration; none of these is ever augmented.
        record: how the images were divided, with a digest.
        notes: what must be said about how they are read.
    """

    name: str
    classes: tuple[str, ...]
    example: Tensor
    train: Loader
    validation: Loader | None
    calibration: Loader | None
    test: Loader
    record: dict[str, Any]
    notes: tuple[str, ...] = ()


def read(given: Path, options: ClassifyOptions) -> Images:
    """Finds, divides and batches the images.

    Args:
        given: folder, or name of a set that this program knows.
        options: say how they are divided, and into what batches.

    Raises:
        DataError: they cannot be had, or the shares leave a split empty.
    """
    train, test = _parts(given)
    asked, seed = options.images, options.common.seed or 0
    calibration = asked.validation_split if options.exits.calibrate else 0.0
    splits = sets.split(
        train.labels, validation=asked.validation_split, calibration=calibration, test=len(test), seed=seed
    )
    used = {
        "train": _share(splits.train, asked.train_size, seed),
        "validation": _share(splits.validation, asked.validation_size, seed),
        "calibration": splits.calibration,
        "test": _share(splits.test, asked.test_size, seed),
    }
    normalisation = Normalisation.of(train.images[used["train"]])

    def ordered(part: ImageData, split: str) -> Loader | None:
        return sets.evaluation_loader(part, used[split], normalisation) if len(used[split]) else None

    test_loader = ordered(test, "test")
    if test_loader is None:
        raise DataError(f"{given}: the test split is empty. Use more of it, with --etes.")
    _, note = workers(asked.workers)
    return Images(
        name=train.name,
        classes=train.classes,
        example=normalisation(train.images[:1]),
        train=sets.train_loader(train, used["train"], normalisation, batch_size=options.training.batch_size),
        validation=ordered(train, "validation"),
        calibration=ordered(train, "calibration"),
        test=test_loader,
        record={**splits.record(), "used": {name: len(indices) for name, indices in used.items()}},
        notes=tuple(filter(None, (note,))),
    )


def _parts(given: Path) -> tuple[ImageData, ImageData]:
    if str(given) in sets.DATASETS:
        return sets.load(str(given), fallback=False)
    raise DataError(f"There is no data at {given}.")


def _share(indices: Tensor, share: float, seed: int) -> Tensor:
    order = torch.randperm(len(indices), generator=torch.Generator().manual_seed(seed))
    return indices[order[: round(share * len(indices))]].sort().values


def workers(asked: int) -> tuple[int, str]:
    """How many processes prepare images, and what is to be said about it.

    Example:
        >>> workers(0)
        (0, '')
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if asked <= cores:
        return asked, ""
    return cores, f"-j {asked}: there are {cores} cores here, so {cores} processes prepare images."
