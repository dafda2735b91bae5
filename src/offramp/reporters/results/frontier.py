"""Accuracy against MACs over the policies of the calibration split, thinned for drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from offramp.calibrators import frontier
from offramp.criteria import Always
from offramp.policy import Policy
from offramp.recording import Recording
from offramp.reporters.results.source import Source

MOST_POINTS = 150


@dataclass(frozen=True)
class Point:
    """A policy's mean MACs, heads included, as a share of the plain network's, and its accuracy."""

    macs_share: float
    accuracy: float


@dataclass(frozen=True)
class Frontier:
    """The best policies known, by ascending MACs.

    They were chosen and evaluated on the same samples, so on others they are a little worse.
    """

    source: Source
    points: tuple[Point, ...]

    @classmethod
    def of(cls, recording: Recording, policy: Policy) -> Frontier | None:
        """For the criterion and temperatures of `policy`; None where there are no thresholds to choose."""
        if isinstance(policy.criterion, Always) or recording.exits < 2:
            return None
        found = frontier(recording, policy.criterion, temperatures=policy.temperatures)
        points = [Point(point.mean_macs / recording.plain_macs, point.accuracy) for point in found]
        return cls(Source.of(recording), tuple(thinned(points, MOST_POINTS)))


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most `most` of the points, spread evenly over the MACs, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    low, high = points[0].macs_share, points[-1].macs_share
    cells: dict[int, Point] = {}
    for point in points[:-1]:
        cells[int((point.macs_share - low) / (high - low) * (most - 2))] = point
    return [points[0], *(p for p in cells.values() if p is not points[0]), points[-1]]
