"""What the calibration promises, and on what it rests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from offramp.goals import Goal
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
)


@dataclass(frozen=True)
class Certificate:
    """The evidence of a calibration; see `offramp.calibrators.Evidence` for the figures.

    Attributes:
        source: the calibration split.
        goal: in words.
        points: the drop of accuracy that was allowed, a share; None where the goal was another.
    """

    source: Source
    goal: str
    points: float | None
    method: str
    temperatures_from: str
    accuracy: float
    plain_accuracy: float
    drop: float
    worse: int
    better: int
    macs_share: float
    delta: float | None
    p_value: float | None
    tested: int | None
    certified: int | None
    assumption: str | None

    @classmethod
    def of(cls, evidence: Mapping[str, Any], seed: int | None, device: str) -> Certificate:
        """From `Evidence.to_dict()`."""
        asked = dict(evidence["goal"])
        known = {kind.name: kind for kind in Goal.__subclasses__()}
        goal = known[asked.pop("name")](**asked)
        return cls(
            source=Source(str(evidence["split"] or "calibration"), int(evidence["samples"]), seed, device),
            goal=goal.describe(),
            points=asked.get("points"),
            **{name: evidence[name] for name in _COPIED},
        )

    def statement(self) -> str:
        """What is promised, in one sentence."""
        if self.delta is None:
            return (
                f"Goal: {self.goal}. It was judged on the {self.source.samples:,} calibration samples themselves: "
                "nothing is promised for new samples."
            )
        return (
            f"With probability at least {100 * (1 - self.delta):g} % over the draw of the {self.source.samples:,} "
            f"calibration samples, accuracy on new samples is at most {100 * (self.points or 0):g} percentage "
            f"point{'' if self.points == 0.01 else 's'} below that of the plain network."
        )
