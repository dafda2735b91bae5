"""Families of policies with one parameter, and what every member of one does on a recording, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from offramp.calibrators.scoring import Floats, Ints, ScoreTable
from offramp.errors import CalibrationError


@dataclass(frozen=True, eq=False)
class Family:
    """Policies in the order in which they are tested. It must not depend on the samples that test it.

    Attributes:
        thresholds: `[m, early]`, in the dtype of the scores; no column rises, and a closed exit (inf) is closed in all.
        name: for the evidence.
    """

    thresholds: Floats
    name: str

    def __len__(self) -> int:
        return int(self.thresholds.shape[0])


def shared_family(table: ScoreTable, grid: int | Sequence[float]) -> Family:
    """One threshold for all exits: the criterion's own grid of this size, or a sequence that is given.

    Raises:
        CalibrationError: it is empty, or not from strict to loose.
    """
    values = table.criterion.grid(table.recording.classes, grid) if isinstance(grid, int) else list(grid)
    # Rounded to the scores' dtype, so that comparing with the grid here and in a runtime is the same comparison.
    thresholds = np.array(values, dtype=table.scores.dtype)
    if not thresholds.size or not (np.diff(thresholds) <= 0).all():
        raise CalibrationError(
            f"calibrate(grid=...) needs thresholds from the strictest to the loosest, got {thresholds.size} of them"
            + (f", from {thresholds[0]:g} to {thresholds[-1]:g} and not falling." if thresholds.size else ".")
        )
    return Family(np.repeat(thresholds[:, None], table.early, axis=1), "one shared threshold")


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What the members of a family do on a recording.

    Attributes:
        sizes: `[groups]` samples.
        worse: `[m, groups]` samples that only the full network gets right.
        better: `[m, groups]` samples that only the policy gets right.
        taken: `[m, exits]` samples that leave at each exit.
        costs: `[exits]` of leaving there.
        right: number of samples that the full network gets right.
    """

    sizes: Ints
    worse: Ints
    better: Ints
    taken: Ints
    costs: Floats
    right: int

    @property
    def samples(self) -> int:
        """Number of samples."""
        return int(self.sizes.sum())

    @property
    def early(self) -> Ints:
        """`[m]` samples that leave early."""
        early: Ints = self.taken[:, :-1].sum(axis=1)
        return early

    @property
    def mean_cost(self) -> Floats:
        """`[m]` per sample, heads included."""
        return self.taken @ self.costs / self.samples

    @property
    def drop(self) -> Floats:
        """`[m]` share of the samples that is lost against the full network."""
        drop: Floats = (self.worse - self.better).sum(axis=1) / self.samples
        return drop


def follow(table: ScoreTable, family: Family, groups: Ints | None = None, group_count: int = 1) -> Outcomes:
    """Outcomes of all members in one pass, O(exits n log m).

    A sample leaves at exit k from the first member whose threshold is below its score there, up to the first that lets
    it leave at an earlier exit. So its outcome at exit k is added at the one place and taken away at the other, and a
    cumulative sum along the family gives the totals.

    Args:
        table: scores and right answers.
        family: what to follow.
        groups: `[n]` group of each sample, by which `worse` and `better` are counted; None for one group.
        group_count: number of groups.
    """
    size, plain = len(family), table.plain_correct
    group = np.zeros(table.samples, dtype=np.int64) if groups is None else groups
    worse, better = _Counter(size, group, group_count), _Counter(size, group, group_count)
    taken = np.zeros((size, table.early + 1), dtype=np.int64)
    until = np.full(table.samples, size)
    for k in range(table.early + 1):
        # Number of members whose threshold is at or above the score: at those the sample does not leave here.
        column = None if k == table.early else -family.thresholds[:, k]
        first = 0 if column is None else np.searchsorted(column, -table.scores[k], side="right")
        since = np.minimum(first, until)
        worse.count(plain & ~table.correct[k], since, until)
        better.count(table.correct[k] & ~plain, since, until)
        taken[:, k] = _steps(since, until, size).cumsum()
        until = since
    return Outcomes(
        sizes=np.bincount(group, minlength=group_count),
        worse=worse.totals,
        better=better.totals,
        taken=taken,
        costs=table.costs(family.thresholds[-1].tolist()) if size else np.zeros(table.early + 1),
        right=int(plain.sum()),
    )


class _Counter:
    """Counts samples along a family, by group."""

    def __init__(self, size: int, group: Ints, groups: int) -> None:
        self._changes = np.zeros((size + 1) * groups, dtype=np.int64)
        self._group, self._shape = group, (size + 1, groups)

    def count(self, who: np.ndarray, since: Ints, until: Ints) -> None:
        """Adds the samples `who` `[n]` from member `since` up to before member `until`."""
        size, groups = self._changes.size, self._shape[1]
        rows = np.flatnonzero(who)
        self._changes += np.bincount(since[rows] * groups + self._group[rows], minlength=size)
        self._changes -= np.bincount(until[rows] * groups + self._group[rows], minlength=size)

    @property
    def totals(self) -> Ints:
        """`[m, groups]`."""
        return self._changes.reshape(self._shape).cumsum(axis=0)[:-1]


def _steps(since: Ints, until: Ints, size: int) -> Ints:
    return (np.bincount(since, minlength=size + 1) - np.bincount(until, minlength=size + 1))[:size]
