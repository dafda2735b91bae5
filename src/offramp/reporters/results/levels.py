"""How finely samples are answered, where exits may answer with groups of classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from offramp.criteria import Coarse, Criterion
from offramp.decisions import Decisions
from offramp.hierarchies import Hierarchy
from offramp.policy import Policy
from offramp.recording import Recording
from offramp.reporters.results.source import Source


@dataclass(frozen=True)
class LevelFigures:
    """The samples answered at one level.

    Attributes:
        level: 0 = with their class, larger = with a larger group.
        groups: how many answers there are at this level.
        samples: how many samples.
        share: the same as a share of all.
        accuracy: share of them that belong to what they are answered with; None (n/a) where there is none.
    """

    level: int
    groups: int
    samples: int
    share: float
    accuracy: float | None


@dataclass(frozen=True)
class Levels:
    """All levels, the classes first."""

    source: Source
    rows: tuple[LevelFigures, ...]

    @classmethod
    def of(cls, recording: Recording, policy: Policy, decisions: Decisions) -> Levels | None:
        """From what a policy decided on a recording; None where it answers with classes alone."""
        coarse = next(_coarse(policy.criterion), None)
        if coarse is None or decisions.levels is None:
            return None
        # Names play no part in whether an answer is right.
        names = tuple(tuple(map(str, range(max(row) + 1))) for row in coarse.groups)
        hierarchy = Hierarchy(tuple(map(str, range(recording.classes))), names, coarse.groups)
        counts = [recording.classes, *map(len, names)]
        rows = [
            LevelFigures(one.level, counts[one.level], one.rows, one.rows / len(decisions), one.accuracy)
            for one in hierarchy.accuracy(decisions, recording.required_labels)
        ]
        return cls(Source.of(recording), tuple(rows))


def _coarse(criterion: Criterion) -> Iterator[Coarse]:
    """The criterion with groups among a criterion and those inside of it."""
    if isinstance(criterion, Coarse):
        yield criterion
    for field in fields(criterion):  # type: ignore[arg-type]  # members are dataclasses
        inner = getattr(criterion, field.name)
        for one in inner if isinstance(inner, tuple) else (inner,):
            if isinstance(one, Criterion):
                yield from _coarse(one)
