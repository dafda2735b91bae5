"""Voting: leave once enough of the exits so far name the same class, and answer with that class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from offramp.criteria.criterion import Criterion, register
from offramp.errors import PolicyError

MOST = 64
"""Most votes in a grid."""


@register
@dataclass(frozen=True)
class Voting(Criterion):
    """`score = max_c v_c / m^power`, v_c the number of the m exits so far whose prediction is c.

    With power 0, "k exits agree" is the threshold k - 1/2, see `thresholds`. With power 1 the score is the share of the
    votes; nobody leaves at the first exit then, whose one vote is all there are: it would let everybody leave or, at a
    threshold that unanimity does not pass, nobody anywhere. The answer is
    `ln(v_c + p_c / 2)`, p the softmax of this exit: the class with most votes and, of equals, the one
    that this exit finds likelier.

    Source: Sun et al. 2021, "Early exiting with ensemble internal classifiers". How equals are told apart is ours.

    Attributes:
        power: how much more votes are asked for deeper in the network, 0 to 1.

    Example:
        >>> import torch
        >>> cat, dog = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> Voting().score(dog, [cat, cat]), Voting().answer(dog, [cat, cat]).argmax(1)
        (tensor([2.]), tensor([0]))
    """

    power: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.power <= 1:
            raise PolicyError(f"Voting(power={self.power!r}): give a number from 0 to 1.")

    @property
    def uses_earlier(self) -> bool:
        """Always."""
        return True

    @property
    def combines(self) -> bool:
        """Always."""
        return True

    def opens(self, exit: int) -> bool:
        """Everywhere, or with power 1 from the second exit on."""
        return exit > 0 or self.power < 1

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.score`."""
        return self._score(_settled(logits, earlier), len(earlier) + 1)

    def answer(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.answer`."""
        return _logarithm(_settled(logits, earlier))

    def judge(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
        """See `Criterion.judge`."""
        settled = _settled(logits, earlier)
        return self._score(settled, len(earlier) + 1), _logarithm(settled)

    def _score(self, settled: Tensor, exits: int) -> Tensor:
        most = settled.amax(dim=-1).floor()
        return most / exits**self.power if self.power else most

    def grid(self, classes: int, size: int) -> list[float]:
        """Every number of votes up to `MOST`, and 0 votes; with a power the same numbers, which are then reached later.

        With power 1 shares from 1 downwards.
        """
        if self.power == 1:
            return [1 - (i + 0.5) / size for i in range(size)]
        return [t - 0.5 for t in range(min(size, MOST), 0, -1)]

    @staticmethod
    def thresholds(votes: int, early_exits: int) -> list[float]:
        """Thresholds for a number of votes (power 0), one per early exit.

        Raises:
            PolicyError: there are never so many votes before the last exit.

        Example:
            >>> Voting.thresholds(2, early_exits=3)
            [1.5, 1.5, 1.5]
        """
        if isinstance(votes, bool) or not isinstance(votes, int) or not 1 <= votes <= early_exits:
            raise PolicyError(
                f"Voting.thresholds({votes!r}, early_exits={early_exits}): before the last exit there are at most "
                f"{early_exits} votes. Give a whole number from 1 to that, or attach more exits."
            )
        return [votes - 0.5] * early_exits


def _settled(logits: Tensor, earlier: Sequence[Tensor]) -> Tensor:
    """`[n, classes]`: how many exits so far predict each class, and half of its softmax here.

    Half a vote decides between equals, and never against one vote more. A row that is not all numbers has no softmax
    and is NaN, however many exits agree on it.
    """
    classes = torch.arange(logits.shape[-1], device=logits.device)
    named = torch.stack([*earlier, logits]).argmax(dim=-1, keepdim=True)
    return (named == classes).sum(dim=0, dtype=logits.dtype).add(logits.softmax(dim=-1), alpha=0.5)


def _logarithm(settled: Tensor) -> Tensor:
    return settled.clamp_min(torch.finfo(settled.dtype).tiny).log()
