"""Which of two programs is faster: a ratio of times with an interval, and an answer where the interval gives one."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import comb
from typing import Any

from offramp.errors import VerdictError

CONFIDENCE = 0.95


class Answer(StrEnum):
    """Whether something is worth its cost in time."""

    PAYS = "pays"
    DOES_NOT_PAY = "does not pay"
    UNRESOLVED = "unresolved"


@dataclass(frozen=True)
class Ratio:
    """Time of one program over that of another, paired by rounds: below 1, the first is faster.

    Attributes:
        median: of the rounds' ratios.
        low: lower end of the interval for the true median.
        high: its upper end.
        rounds: number of rounds.
        confidence: probability with which such intervals hold the true median.
    """

    median: float
    low: float
    high: float
    rounds: int
    confidence: float

    @classmethod
    def of(cls, first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE) -> Ratio:
        """From the times of the same rounds.

        The interval reaches from the j-th smallest to the j-th largest ratio, with the largest j for which
        `P(Binomial(rounds, 1/2) < j) <= (1 - confidence) / 2`. It supposes nothing about how times are distributed,
        only that rounds are alike and independent.

        Raises:
            VerdictError: fewer rounds than any interval of this confidence needs.
        """
        ratios = sorted(a / b for a, b in zip(first, second, strict=True))
        cut = _cut(len(ratios), confidence)
        if cut == 0:
            raise VerdictError(
                f"rounds={len(ratios)}: an interval of {100 * confidence:g} % for the median needs at least "
                f"{least_rounds(confidence)} rounds."
            )
        return cls(statistics.median(ratios), ratios[cut - 1], ratios[-cut], len(ratios), confidence)

    @property
    def answer(self) -> Answer:
        """Whether the first program pays; unresolved where the interval holds 1."""
        if self.high < 1:
            return Answer.PAYS
        return Answer.DOES_NOT_PAY if self.low > 1 else Answer.UNRESOLVED

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def least_rounds(confidence: float = CONFIDENCE) -> int:
    """The fewest rounds that give an interval of this confidence.

    Example:
        >>> least_rounds(0.95)
        6
    """
    rounds = 1
    while _cut(rounds, confidence) == 0:
        rounds += 1
    return rounds


def _cut(rounds: int, confidence: float) -> int:
    """The largest j with `P(Binomial(rounds, 1/2) < j) <= (1 - confidence) / 2`; 0 where there is none."""
    below, cut = 0, 0
    while below + comb(rounds, cut) <= (1 - confidence) / 2 * 2**rounds:
        below += comb(rounds, cut)
        cut += 1
    return cut


@dataclass(frozen=True)
class Crossover:
    """Where, along the measured batch sizes, paying begins and ends.

    Attributes:
        up_to: it pays at every measured batch size up to this one; None where it does not pay at the smallest.
        from_: it pays at every measured batch size from this one on; None where it does not pay at the largest.
    """

    up_to: int | None
    from_: int | None

    @classmethod
    def of(cls, answers: Mapping[int, Answer]) -> Crossover:
        """From the answers by batch size. Unresolved is not paying.

        Example:
            >>> Crossover.of({1: Answer.PAYS, 8: Answer.PAYS, 64: Answer.DOES_NOT_PAY})
            Crossover(up_to=8, from_=None)
        """
        rising = sorted(answers)
        return cls(_last_paying(answers, rising), _last_paying(answers, rising[::-1]))

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"up_to": self.up_to, "from": self.from_}


def _last_paying(answers: Mapping[int, Answer], sizes: Sequence[int]) -> int | None:
    last = None
    for size in sizes:
        if answers[size] is not Answer.PAYS:
            break
        last = size
    return last


def rising(batch_sizes: Sequence[int]) -> list[int]:
    """The batch sizes to measure at, in order and each once.

    Raises:
        VerdictError: there is none, or one is no whole number of at least 1.
    """
    if not batch_sizes or any(not isinstance(size, int) or size < 1 for size in batch_sizes):
        raise VerdictError(f"batch_sizes={list(batch_sizes)}: give at least one, each a whole number of at least 1.")
    return sorted(set(batch_sizes))
