"""What each exit does: alone, as a static baseline, and under the policy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from offramp.decisions import Decisions
from offramp.metrics import accuracy_per_exit, exit_rows
from offramp.policy import Policy, always
from offramp.recording import Recording
from offramp.reporters.results.source import Source


@dataclass(frozen=True)
class ExitFigures:
    """One exit.

    Attributes:
        exit: its number, 0 = earliest.
        place: the module behind which it leaves; "output" for the backbone's own.
        accuracy: if every sample left here (the always-exit test).
        macs_share: MACs if every sample left here, its own head included, as a share of the plain network's.
        left: number of samples that left here under the policy.
        share: the same as a share of all.
        accuracy_left: among those who left here; None (n/a) where nobody did.
        threshold: of the policy: a number, "inf" for a closed exit, "-inf"; None at the last exit, which has none.
        temperature: of the policy; None where there is none.
    """

    exit: int
    place: str
    accuracy: float
    macs_share: float
    left: int
    share: float
    accuracy_left: float | None
    threshold: float | str | None
    temperature: float | None


@dataclass(frozen=True)
class Exits:
    """All exits, earliest first."""

    source: Source
    rows: tuple[ExitFigures, ...]

    @classmethod
    def of(cls, recording: Recording, policy: Policy, decisions: Decisions, places: Sequence[str]) -> Exits:
        """From a recording and what the policy decided on it; `places` names the early exits."""
        alone = accuracy_per_exit(recording).tolist()
        taken = exit_rows(decisions, recording.required_labels)
        thresholds = [_plain(t) for t in policy.thresholds_for(recording.exits - 1)]
        temperatures = policy.temperatures or (None,) * (recording.exits - 1)
        rows = [
            ExitFigures(
                exit=k,
                place=[*places, "output"][k],
                accuracy=alone[k],
                macs_share=float(recording.costs(always(exit=k))[k]) / recording.plain_macs,
                left=taken[k].count,
                share=taken[k].share,
                accuracy_left=taken[k].accuracy,
                threshold=[*thresholds, None][k],
                temperature=[*temperatures, None][k],
            )
            for k in range(recording.exits)
        ]
        return cls(Source.of(recording), tuple(rows))


def _plain(threshold: float) -> float | str:
    # JSON has no infinity.
    return threshold if math.isfinite(threshold) else str(threshold)
