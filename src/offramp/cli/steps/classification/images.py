"""The images of a run: found by the kind of network, divided, and batched."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from offramp import data as sets
from offramp import zoo
from offramp.cli.classify_options import ClassifyOptions
from offramp.data import ImageFiles, Normalisation, Opened, Splits
from offramp.errors import DataError

Loader = Iterable[Any]


@dataclass(frozen=True, eq=False)
class Images:
    """What a run is fed.

    Attributes:
        classes: what the labels mean.
        example: `[1, channels, height, width]`, as the network gets it.
        train: shuffled and augmented batches.
        validation: None where nothing is held out.
        calibration: None where no thresholds are to be chosen.
        test: batches in order, as those of validation and calibration; none of these is ever augmented.
        record: how the images were divided, with a digest.
        notes: what must be said about how they are read.
    """

    classes: tuple[str, ...]
    example: Tensor
    train: Loader
    validation: Loader | None
    calibration: Loader | None
    test: Loader
    record: dict[str, Any]
    notes: tuple[str, ...]


def read(given: Path, options: ClassifyOptions) -> Images:
    """Finds, divides and batches the images.

    Args:
        given: folder, or name of a set, see `offramp.data.open_data`.
        options: say how they are divided, and into what batches.

    Raises:
        DataError: they cannot be had, or a split that is needed is empty.
        MissingExtraError: a package that the layout needs is not installed.
    """
    opened = sets.open_data(given, zoo.data_kind(options.network.arch))
    splits = _divided(opened, options)
    normalisation = opened.normalisation(splits)
    count, notes = _workers(options.images.workers, in_memory=not isinstance(opened.train, ImageFiles))

    def ordered(split: str) -> Loader | None:
        return opened.loader(split, splits, normalisation, workers=count) if len(getattr(splits, split)) else None

    test = ordered("test")
    if test is None:
        raise DataError(f"{given} has no test images.")
    return Images(
        classes=opened.classes,
        example=_example(opened, splits, normalisation),
        train=opened.train_loader(splits, normalisation, options.training.batch_size, workers=count),
        validation=ordered("validation"),
        calibration=ordered("calibration"),
        test=test,
        record={
            **splits.record(),
            # Other images in the same number are told by their labels, and what was never trained on by its indices.
            "labels_sha256": _digest(opened.train.labels, opened.test.labels),
            "calibration_sha256": _digest(splits.calibration),
        },
        notes=(f"{opened.layout} in {given}: {_sizes(splits)}, {len(opened.classes)} classes.", *notes),
    )


def _divided(opened: Opened, options: ClassifyOptions) -> Splits:
    asked = options.images
    return opened.divide(
        validation=asked.validation_split,
        calibration=asked.validation_split if options.exits.calibrate else 0.0,
        seed=options.common.seed or 0,
        fractions={"train": asked.train_size, "validation": asked.validation_size, "test": asked.test_size},
    )


def _example(opened: Opened, splits: Splits, normalisation: Normalisation) -> Tensor:
    images, _ = next(iter(opened.loader("train", splits, normalisation, batch_size=1)))
    example: Tensor = images
    return example


def _digest(*parts: Tensor) -> str:
    return hashlib.sha256(b"|".join(part.numpy().tobytes() for part in parts)).hexdigest()


def _sizes(splits: Splits) -> str:
    return ", ".join(f"{size:,} for {split}" for split, size in splits.record()["sizes"].items() if size)


def _workers(asked: int, in_memory: bool) -> tuple[int, list[str]]:
    """How many processes prepare images, and what is to be said about it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    notes = [f"-j {asked}: more processes than the cores here, which are {cores}."] if asked > cores else []
    if in_memory:
        return 0, [*notes, "The images are in memory: training prepares them itself, with no other process."]
    return min(asked, cores), [*notes, f"{min(asked, cores)} processes prepare images."]
