"""What can be learned from a recording about its early exits: what gates see there, and what they should say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from offramp.criteria.gate import gate_features
from offramp.errors import CalibrationError
from offramp.recording import Recording

TOP = 3
"""How many probabilities gates read where nothing else is asked for."""


def check_recording(recording: Recording, what: str) -> None:
    """Refuses a recording from which nothing may, or can, be learned.

    Raises:
        CalibrationError: it has no early exit, or says that it is the test split.
    """
    if recording.exits < 2:
        raise CalibrationError(
            f"{what}: the recording has one exit, the backbone's own output. Attach early exits with "
            "offramp.attach(at=...) and record again."
        )
    if recording.meta.get("split") == "test":
        raise CalibrationError(
            f"{what}: the recording is of the split 'test', which nothing may be learned from. Record another split, "
            "e.g. half of the calibration split: recording.split(0.5)."
        )


def scaled(recording: Recording, temperatures: Sequence[float] | None) -> list[Tensor]:
    """Logits `[n, classes]` of each exit in double precision, divided by their temperatures as in a policy.

    Raises:
        CalibrationError: another number of temperatures than of early exits, or one that is not above 0.
    """
    early = recording.exits - 1
    values = [1.0] * early if temperatures is None else [float(t) for t in temperatures]
    if len(values) != early or not all(0 < t < float("inf") for t in values):
        raise CalibrationError(
            f"temperatures={values}: give one above 0 per early exit ({early}), earliest first, or None."
        )
    return [logits.double() / t for logits, t in zip(recording.logits, [*values, 1.0], strict=True)]


@dataclass(frozen=True, eq=False)
class Lessons:
    """What gates learn from.

    Attributes:
        features: `[early, n, f]`, see `gate_features`.
        agrees: `[early, n]` float64, 1 where the exit predicts what the last one does.
        classes: number of classes.
        top: how many probabilities are among the features.
    """

    features: Tensor
    agrees: Tensor
    classes: int
    top: int

    @classmethod
    def of(cls, recording: Recording, top: int | None, temperatures: Sequence[float] | None) -> Lessons:
        """Out of a recording; labels play no part.

        Raises:
            CalibrationError: fewer than 2 or more than all probabilities are asked for, or as in `scaled`.
        """
        top = min(TOP, recording.classes) if top is None else top
        if isinstance(top, bool) or not isinstance(top, int) or not 2 <= top <= recording.classes:
            raise CalibrationError(f"top={top!r}: give 2 to the number of classes, {recording.classes}.")
        exits = scaled(recording, temperatures)
        features = torch.stack([gate_features(logits, top) for logits in exits[:-1]])
        agrees = (recording.predictions[:-1] == recording.predictions[-1]).double()
        return cls(features, agrees, recording.classes, top)
