"""What the calibration promises, and on what it rests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from offramp.goals import AccuracyDrop, goal_from_dict
from offramp.reporters.results.source import Source

_COPIED = (
    "method",
    "temperatures_from",
    "accuracy",
    "plain_accuracy",
    "drop",
    "worse",
    "better",
    "macs_share",
    "delta",
    "p_value",
    "tested",
    "certified",
    "assumption",
    "caution",
)


@dataclass(frozen=True)
class Certificate:
    """The evidence of a calibration; see `offramp.calibrators.Evidence` for the figures.

    Attributes:
        source: the calibration split.
        goal: in words.
        points: the drop of accuracy that was allowed, a share of the samples; None where the goal was another.
        promise: what is promised for new samples, in words; None where nothing is.
    """

    source: Source
    goal: str
    points: float | None
    promise: str | None
    method: str
    temperatures_from: str
    accuracy: float | None
    plain_accuracy: float | None
    drop: float | None
    worse: int | None
    better: int | None
    macs_share: float
    delta: float | None
    p_value: float | None
    tested: int | None
    certified: int | None
    assumption: str | None
    caution: str | None

    @classmethod
    def of(cls, evidence: Mapping[str, Any], seed: int | None, device: str) -> Certificate:
        """From `Evidence.to_dict()`."""
        goal = goal_from_dict(evidence["goal"])
        copied: dict[str, Any] = {name: evidence.get(name) for name in _COPIED}
        return cls(
            source=Source(str(evidence["split"] or "calibration"), int(evidence["samples"]), seed, device),
            goal=goal.describe(),
            points=goal.points if isinstance(goal, AccuracyDrop) and not goal.relative else None,
            promise=goal.promise() if goal.promises else None,
            **copied,
        )

    def statement(self) -> str:
        """What is promised, in one sentence."""
        if self.promise is None:
            return (
                f"Goal: {self.goal}. It was judged on the {self.source.samples:,} calibration samples themselves: "
                "nothing is promised for new samples."
            )
        if self.delta is None:
            return f"Only this is promised: {self.promise}."
        return (
            f"With probability at least {100 * (1 - self.delta):g} % over the draw of the {self.source.samples:,} "
            f"calibration samples, {self.promise}."
        )
