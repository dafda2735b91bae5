"""The images that each exit was surest and least sure of, among those that left there."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from offramp.decisions import Decisions
from offramp.policy import Policy
from offramp.recording import Recording
from offramp.reporters.results.png import png
from offramp.reporters.results.source import Source

EACH = 6


@dataclass(frozen=True)
class Picture:
    """One sample.

    Attributes:
        index: its row in the split.
        label: what it is.
        prediction: what the exit took it for.
        score: how sure the exit was, in the units of the criterion.
        png: the image, a PNG file in base64.
    """

    index: int
    label: str
    prediction: str
    score: float
    png: str

    @property
    def right(self) -> bool:
        """Whether the prediction is the label."""
        return self.label == self.prediction


@dataclass(frozen=True)
class Shelf:
    """The pictures of one exit, surest first; both are empty where nobody left."""

    exit: int
    easiest: tuple[Picture, ...]
    hardest: tuple[Picture, ...]


@dataclass(frozen=True)
class Gallery:
    """One shelf per exit, earliest first."""

    source: Source
    shelves: tuple[Shelf, ...]

    @classmethod
    def of(
        cls, recording: Recording, policy: Policy, decisions: Decisions, images: Tensor, classes: Sequence[str]
    ) -> Gallery:
        """Chooses the pictures.

        Args:
            recording: of the samples.
            policy: what scored them.
            decisions: what it decided on them.
            images: uint8 `[n, channels, height, width]`, in the same order.
            classes: names of the classes.
        """
        shelves = []
        for exit, scores in enumerate(_scores(recording, policy)):
            rows = (decisions.exits == exit).nonzero().flatten()
            rows = rows[scores[rows].argsort(descending=True, stable=True)]
            # Where few left, nobody is shown twice.
            count = min(EACH, (len(rows) + 1) // 2), min(EACH, len(rows) // 2)
            chosen = [rows[: count[0]], rows[len(rows) - count[1] :]]
            easiest, hardest = (
                tuple(_picture(int(row), scores, recording, decisions, images, classes) for row in part)
                for part in chosen
            )
            shelves.append(Shelf(exit, easiest, hardest))
        return cls(Source.of(recording), tuple(shelves))


def _scores(recording: Recording, policy: Policy) -> Iterator[Tensor]:
    """`[n]` of each exit; at the last one, which needs no score to leave, the criterion without temperature."""
    for exit in range(recording.exits):
        yield policy.score(exit, recording.logits[exit], recording.logits[:exit].unbind())


def _picture(
    row: int, scores: Tensor, recording: Recording, decisions: Decisions, images: Tensor, classes: Sequence[str]
) -> Picture:
    return Picture(
        index=row,
        label=classes[int(recording.required_labels[row])],
        prediction=classes[int(decisions.predictions[row])],
        score=float(scores[row]),
        png=base64.b64encode(png(images[row])).decode("ascii"),
    )
