"""A hierarchy of classes, the criterion it makes, and what its answers are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from offramp.criteria import Coarse, Criterion, MaxProbability
from offramp.criteria.coarse import at_level
from offramp.decisions import Decisions
from offramp.errors import HierarchyError, closest
from offramp.hierarchies.clustering import confusion_groups
from offramp.recording import Recording


@dataclass(frozen=True)
class LevelAccuracy:
    """Rows answered at one level.

    Attributes:
        level: 0 = with their class.
        rows: how many.
        right: how many of them belong to what they are answered with.
    """

    level: int
    rows: int
    right: int

    @property
    def accuracy(self) -> float | None:
        """Share that is right; None where nobody is answered at this level."""
        return self.right / self.rows if self.rows else None


@dataclass(frozen=True)
class Hierarchy:
    """Classes, and the groups they belong to at every level above.

    Attributes:
        classes: names of the classes, in the order of the logits.
        names: for each level the names of its groups, finer first.
        groups: for each level the number of the group of each class.

    Example:
        >>> h = Hierarchy.of({"cat": "animal", "dog": "animal", "car": "vehicle"}, classes=["cat", "dog", "car"])
        >>> h.names, h.groups
        ((('animal', 'vehicle'),), ((0, 0, 1),))
    """

    classes: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]
    groups: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, parents: Mapping[str, str], classes: Sequence[str]) -> Self:
        """From the group that each class, and each group but the topmost, belongs to.

        Where some classes have fewer groups above them than others, their nearest one stands for those that are
        missing. A single group at the top, which says nothing, is left out.

        Args:
            parents: name of a class or group -> name of its group.
            classes: names of the classes, in the order of the logits.

        Raises:
            HierarchyError: a class has no name of its own or no group, a group is its own ancestor, or there is one
                group only.
        """
        if not classes or len(set(classes)) < len(classes):
            raise HierarchyError(
                f"Hierarchy.of(classes={list(classes)}): give the name of every class once, in the order of the logits."
            )
        missing = [name for name in classes if name not in parents]
        if missing:
            raise HierarchyError(
                f"The hierarchy gives no group to {len(missing)} of {len(classes)} classes: {missing[:5]}. Give every "
                f"class one. {closest(missing[0], parents)}"
            )
        chains = [_ancestors(name, parents) for name in classes]
        depth = max(map(len, chains))
        padded = [[chain[0]] * (depth - len(chain)) + chain for chain in chains]
        levels = [[chain[level] for chain in padded] for level in range(depth)]
        return cls._by_names(tuple(classes), [level for level in levels if len(set(level)) > 1])

    @classmethod
    def from_confusion(
        cls, recording: Recording, counts: Sequence[int], exit: int = 0, classes: Sequence[str] | None = None
    ) -> Self:
        """From what an exit confuses; see `confusion_groups`. A group is named after its classes.

        Args:
            recording: of held-out samples.
            counts: number of groups of each level, finer first.
            exit: whose confusions count.
            classes: names of the classes; by default their numbers.

        Raises:
            HierarchyError: impossible counts or exit, the test split, or another number of names than of classes.
            MissingExtraError: scipy is not installed.
        """
        names = tuple(map(str, range(recording.classes))) if classes is None else tuple(classes)
        if len(names) != recording.classes:
            raise HierarchyError(f"{len(names)} names for {recording.classes} classes: give one each.")
        levels = []
        for groups in confusion_groups(recording, counts, exit):
            joined = ["+".join(names[c] for c, g in enumerate(groups) if g == group) for group in groups]
            levels.append(joined)
        return cls._by_names(names, levels)

    @classmethod
    def _by_names(cls, classes: tuple[str, ...], levels: Sequence[Sequence[str]]) -> Self:
        """From the name of each class's group at each level."""
        if not levels:
            raise HierarchyError("The hierarchy puts all classes into one group: give two groups at least.")
        names = tuple(tuple(dict.fromkeys(level)) for level in levels)
        groups = tuple(tuple(of.index(name) for name in level) for of, level in zip(names, levels, strict=True))
        return cls(classes, names, groups)

    def criterion(self, confidence: Criterion | None = None) -> Coarse:
        """The criterion that lets early exits answer with groups.

        Args:
            confidence: scores the logits of a level, default `MaxProbability()`.
        """
        return Coarse(self.groups, confidence or MaxProbability())

    def answers(self, decisions: Decisions) -> list[str]:
        """The name of the class or group that each row is answered with."""
        levels = self._levels(decisions).tolist()
        numbers = [self._at(level, decisions.logits).tolist() for level in range(len(self.names) + 1)]
        names = (self.classes, *self.names)
        return [names[level][numbers[level][row]] for row, level in enumerate(levels)]

    def accuracy(self, decisions: Decisions, labels: Tensor) -> tuple[LevelAccuracy, ...]:
        """How often answers are right, for each level from the classes upwards.

        Args:
            decisions: of a policy with the criterion of this hierarchy.
            labels: `[n]`, numbers of the classes.

        Raises:
            HierarchyError: the decisions have no levels.
        """
        levels = self._levels(decisions)
        found = []
        for level in range(len(self.names) + 1):
            rows = levels == level
            truth = labels if level == 0 else torch.tensor(self.groups[level - 1])[labels]
            right = self._at(level, decisions.logits).cpu() == truth
            found.append(LevelAccuracy(level, int(rows.sum()), int((right & rows).sum())))
        return tuple(found)

    def _at(self, level: int, logits: Tensor) -> Tensor:
        """`[n]`: the likeliest class or group of a level."""
        return (logits if level == 0 else at_level(logits, self.groups[level - 1])).argmax(dim=-1)

    def _levels(self, decisions: Decisions) -> Tensor:
        if decisions.levels is None:
            raise HierarchyError("The decisions have no levels: decide with a policy of hierarchy.criterion().")
        return decisions.levels.cpu()


def _ancestors(name: str, parents: Mapping[str, str]) -> list[str]:
    """The groups above a class, nearest first.

    Raises:
        HierarchyError: they go round in a circle.
    """
    chain = [parents[name]]
    while chain[-1] in parents:
        if chain[-1] in (name, *chain[:-1]):
            circle = [name, *chain]
            raise HierarchyError(
                f"The hierarchy goes round in a circle: {' -> '.join(circle[circle.index(chain[-1]) :])}. Let one of "
                "them belong to nothing."
            )
        chain.append(parents[chain[-1]])
    return chain
