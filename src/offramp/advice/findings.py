"""What advice consists of: plain data, and the words for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from offramp.metrics import Overthinking


class Interval(NamedTuple):
    """A figure with the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Choice:
    """One criterion for one goal, judged on samples that did not choose its thresholds.

    Attributes:
        criterion: name and parameters.
        goal: name and parameters.
        goal_in_words: the goal, described.
        infeasible_folds: in how many folds the goal was not reached; the best there is was judged then.
        accuracy: share of right answers.
        drop: accuracy below the plain network's, a share.
        macs_share: mean MACs as a share of the plain network's.
        gain: accuracy above that of the exits used alone, mixed at random, at the same mean MACs, a share.
        equal_to_best: whether the gain cannot be told from that of the best criterion for this goal.
    """

    criterion: dict[str, Any]
    goal: dict[str, Any]
    goal_in_words: str
    infeasible_folds: int
    accuracy: float
    drop: Interval
    macs_share: Interval
    gain: Interval
    equal_to_best: bool


@dataclass(frozen=True)
class Static:
    """One exit used alone, without a decision.

    Attributes:
        exit: its number.
        accuracy: share of right answers.
        macs_share: MACs as a share of the plain network's.
    """

    exit: int
    accuracy: Interval
    macs_share: float


@dataclass(frozen=True)
class Advice:
    """Which criterion for which goal, and whether exits pay.

    Attributes:
        samples: number of samples judged.
        split: they are of, where the recording says it.
        folds: number of folds.
        seed: of folds and resampling.
        confidence: of the intervals.
        pays: whether some choice beats the exits used alone beyond doubt.
        choices: goal by goal, the largest gain first.
        statics: the exits used alone.
        overthinking: what depth wastes and destroys, and the bound that labels would give.
    """

    samples: int
    split: str | None
    folds: int
    seed: int
    confidence: float
    pays: bool
    choices: tuple[Choice, ...]
    statics: tuple[Static, ...]
    overthinking: Overthinking

    def best(self) -> dict[str, tuple[Choice, ...]]:
        """By goal in words: the choices that cannot be told from the best one, which comes first."""
        found: dict[str, tuple[Choice, ...]] = {}
        for choice in self.choices:
            if choice.equal_to_best:
                found[choice.goal_in_words] = (*found.get(choice.goal_in_words, ()), choice)
        return found

    def describe(self) -> str:
        """The answer in one sentence."""
        if not self.pays:
            return (
                "Exits do not pay here: no policy is more accurate than the exits used alone, mixed at random, at the "
                f"same MACs, as far as {self.samples:,} samples can tell at {100 * self.confidence:g} %."
            )
        best = max(self.choices, key=lambda choice: choice.gain.value)
        return (
            f"Exits pay here: {best.criterion['name']} with the goal '{best.goal_in_words}' answers "
            f"{100 * best.accuracy:.2f} % rightly at {best.macs_share.value:.3f} of the plain network's MACs, "
            f"{100 * best.gain.value:.2f} points [{100 * best.gain.low:.2f}, {100 * best.gain.high:.2f}] more than the "
            "exits used alone at the same MACs."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; intervals as value, low and high."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Interval):
        return value._asdict()
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
