"""Criteria that treat a row by the class it is about to be answered with."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from offramp.criteria.criterion import merged, register
from offramp.criteria.wrapping import Wrapping
from offramp.errors import PolicyError


@dataclass(frozen=True)
class ByClass(Wrapping):
    """A number per class beside a criterion.

    Attributes:
        values: one per class, finite, in the units of the criterion's score.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "values", tuple(float(v) for v in self.values))
        if not self.values or not all(map(math.isfinite, self.values)):
            raise PolicyError(
                f"{type(self).__name__}(values={list(self.values)}): give a finite number per class; to close a class, "
                "one above every score."
            )

    @property
    def graded(self) -> bool:
        """Another class may ask for more."""
        return False

    def check(self, early_exits: int, classes: int) -> None:
        """See `Criterion.check`."""
        super().check(early_exits, classes)
        if len(self.values) != classes:
            raise PolicyError(
                f"{type(self).__name__} has {len(self.values)} values, the model has {classes} classes: give one each."
            )

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.score`."""
        return self.judge(logits, earlier)[0]

    def judge(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
        """See `Criterion.judge`."""
        score, answer = self.criterion.judge(logits, earlier)
        return self._beside(score, logits.new_tensor(self.values)[answer.argmax(dim=-1)]), answer

    @staticmethod
    @abstractmethod
    def _beside(score: Tensor, value: Tensor) -> Tensor:
        """The score `[n]`, given the values `[n]` of the classes that the rows would be answered with."""


@register
@dataclass(frozen=True)
class ClassFloors(ByClass):
    """`score = s` where `s > values[predicted class]`, and -inf elsewhere: what no threshold of the policy undercuts.

    Example:
        >>> import torch
        >>> from offramp.criteria import MaxProbability
        >>> ClassFloors(MaxProbability(), (0.5, 0.99)).score(torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
        tensor([0.8808,   -inf])
    """

    @staticmethod
    def _beside(score: Tensor, value: Tensor) -> Tensor:
        return score.masked_fill(score <= value, -float("inf"))


@register
@dataclass(frozen=True)
class ClassThresholds(ByClass):
    """`score = s - values[predicted class]`: a threshold per class, which the policy's moves up or down together.

    `offramp.train_class_thresholds` finds the values from a recording.

    Example:
        >>> import torch
        >>> from offramp.criteria import MaxProbability
        >>> ClassThresholds(MaxProbability(), (0.5, 0.99)).score(torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
        tensor([ 0.3808, -0.1092])
    """

    @staticmethod
    def _beside(score: Tensor, value: Tensor) -> Tensor:
        return score - value

    def grid(self, classes: int, size: int) -> list[float]:
        """The criterion's, relative to each class."""
        values = self.criterion.grid(classes, size)
        return merged([[v - value for v in values] for value in sorted(set(self.values))], size)
