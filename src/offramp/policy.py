"""A policy: criterion, one threshold per early exit, temperatures. Immutable, and JSON with a format version."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from offramp.criteria import Always, Criterion, criterion_from_dict
from offramp.documents import DocumentKind
from offramp.errors import PolicyError

KIND = DocumentKind("offramp.policy", 1, "policy", "Write one with Policy.save or `offramp calibrate`.")
NEVER = math.inf


@dataclass(frozen=True)
class Policy:
    """Decides who leaves where: at early exit k, a row leaves when its score is **above** `thresholds[k]`, strictly.

    A threshold of `inf` closes an exit (its head then never runs); a score that is NaN never leaves early.
    At the last exit, the backbone's own output, everything that is left leaves.

    Args:
        criterion: what is compared, see `offramp.criteria`.
        thresholds: one per early exit, earliest first, in the units of the criterion's score.
        temperatures: one per early exit, > 0: logits are divided by them before they are scored. The logits that
            are returned are not divided, unless the criterion combines those of several exits. None means 1
            everywhere.

    Example:
        >>> from offramp.criteria import Margin
        >>> Policy(criterion=Margin(), thresholds=[0.4, 0.2]).thresholds
        (0.4, 0.2)
    """

    criterion: Criterion
    thresholds: tuple[float, ...]
    temperatures: tuple[float, ...] | None = None

    def __init__(
        self,
        criterion: Criterion,
        thresholds: Sequence[float],
        temperatures: Sequence[float] | None = None,
    ) -> None:
        if not isinstance(criterion, Criterion):
            raise PolicyError(
                f"Policy(criterion={criterion!r}): give an instance from offramp.criteria, e.g. MaxProbability()."
            )
        object.__setattr__(self, "criterion", criterion)
        object.__setattr__(self, "thresholds", _floats("thresholds", thresholds))
        object.__setattr__(
            self, "temperatures", None if temperatures is None else _floats("temperatures", temperatures)
        )
        self._check()

    def _check(self) -> None:
        if any(math.isnan(t) for t in self.thresholds):
            raise PolicyError(
                f"Policy(thresholds={list(self.thresholds)}): NaN is no threshold. Use float('inf') to close an exit."
            )
        if isinstance(self.criterion, Always) and self.thresholds:
            raise PolicyError("Policy with the criterion Always takes no thresholds: write offramp.always(exit=...).")
        if self.temperatures is None:
            return
        if len(self.temperatures) != len(self.thresholds):
            raise PolicyError(
                f"Policy has {len(self.thresholds)} thresholds and {len(self.temperatures)} temperatures; "
                "give one of each per early exit."
            )
        if any(not (0 < t < math.inf) for t in self.temperatures):
            raise PolicyError(f"Policy(temperatures={list(self.temperatures)}): each must be finite and above 0.")

    def thresholds_for(self, early_exits: int) -> tuple[float, ...]:
        """Thresholds for a model with this many early exits.

        Raises:
            PolicyError: the policy is for another number of exits.
        """
        if isinstance(self.criterion, Always):
            if self.criterion.exit > early_exits:
                raise PolicyError(
                    f"always(exit={self.criterion.exit}): the model has the exits 0 to {early_exits} "
                    f"({early_exits} early, and the backbone's own output)."
                )
            return tuple(-math.inf if k == self.criterion.exit else NEVER for k in range(early_exits))
        if len(self.thresholds) != early_exits:
            raise PolicyError(
                f"The policy has {len(self.thresholds)} thresholds {list(self.thresholds)}, the model has "
                f"{early_exits} early exits; give one threshold per early exit, earliest first."
            )
        return tuple(t if self.criterion.opens(k) else NEVER for k, t in enumerate(self.thresholds))

    def check(self, early_exits: int, classes: int) -> None:
        """Makes sure that the policy is for a model with so many exits and classes.

        Raises:
            PolicyError: it is for another.
        """
        self.thresholds_for(early_exits)
        self.criterion.check(early_exits, classes)

    def heads_needed(self, early_exits: int) -> tuple[bool, ...]:
        """Which early heads must run: those of open exits, and all before one where the criterion reads them.

        All of them, where the criterion combines the exits' answers, as the last exit's is made of all.
        """
        if self.criterion.combines:
            return (True,) * early_exits
        is_open = [threshold < NEVER for threshold in self.thresholds_for(early_exits)]
        reads = [is_open[k] and self.criterion.at(k).uses_earlier for k in range(early_exits)]
        return tuple(is_open[k] or any(reads[k:]) for k in range(early_exits))

    def score(self, exit: int, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """Scores `[n]` of one exit's logits `[n, classes]`, in fp32 at least and after the exit's temperature."""
        here = self.criterion.at(exit)
        return here.score(self._scaled(exit, logits), self._past(earlier) if here.uses_earlier else ())

    def answer(self, exit: int, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """What an exit answers, `[n, classes]`: its logits as they are, or a combination with those before.

        Args:
            exit: its number; the last exit, the backbone's own output, answers too.
            logits: `[n, classes]` of that exit.
            earlier: `[n, classes]` each, of all exits before.
        """
        here = self.criterion.at(exit)
        return here.answer(self._scaled(exit, logits), self._past(earlier)) if here.combines else logits

    def judge(self, exit: int, logits: Tensor, earlier: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
        """`(score, answer)` of an early exit, see there: at less cost than one after the other."""
        here = self.criterion.at(exit)
        scaled = self._scaled(exit, logits)
        score, answer = here.judge(scaled, self._past(earlier) if here.uses_earlier else ())
        return score, answer if here.combines else logits

    def levels(self, logits: Tensor, exits: Tensor) -> Tensor | None:
        """How finely rows are answered, `[n]` int64, 0 = with their class; None where the criterion has no levels.

        Args:
            logits: `[n, classes]`, those of the exit that each row took.
            exits: `[n]`, these exits; at the last one all rows are answered with their class.
        """
        if not self.criterion.hierarchical:
            return None
        found = torch.zeros_like(exits)
        for k, threshold in enumerate(self.thresholds):
            rows = (exits == k).nonzero().flatten()
            found[rows] = self.criterion.at(k).levels(self._scaled(k, logits[rows]), threshold)
        return found

    def leaves(self, exit: int, threshold: float, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """Mask `[n]` of the rows that leave at this early exit: `score > threshold`, so never where it is NaN."""
        return self.score(exit, logits, earlier) > threshold

    def _past(self, earlier: Sequence[Tensor]) -> list[Tensor]:
        return [self._scaled(k, logits) for k, logits in enumerate(earlier)]

    def _scaled(self, exit: int, logits: Tensor) -> Tensor:
        # Half-precision softmax saturates: the gate is always computed in fp32 or better.
        wide = logits.float() if logits.dtype.itemsize < 4 else logits
        # The backbone's own output has no temperature.
        scales = self.temperatures is not None and exit < len(self.temperatures)
        return wide / self.temperatures[exit] if self.temperatures is not None and scales else wide

    def to_dict(self) -> dict[str, Any]:
        """Plain data with format and version; infinite thresholds as the strings "inf" and "-inf"."""
        return KIND.stamp(
            {
                "criterion": self.criterion.to_dict(),
                "thresholds": [t if math.isfinite(t) else str(t) for t in self.thresholds],
                "temperatures": None if self.temperatures is None else list(self.temperatures),
            }
        )

    @classmethod
    def from_dict(cls, data: Any, where: str | Path = "What was given") -> Policy:
        """Inverse of `to_dict`; `where` is the file it is from, for errors.

        Raises:
            FileFormatError: not a policy, or written by a newer version.
        """
        data = KIND.check(data, where)
        try:
            return cls(criterion_from_dict(data["criterion"]), data["thresholds"], data.get("temperatures"))
        except KeyError as error:
            raise KIND.damaged(where, error) from error

    def save(self, path: str | Path) -> None:
        """Writes the policy as a JSON file.

        Raises:
            FileFormatError: it cannot be written there.
        """
        KIND.write(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> Policy:
        """Reads what `save` wrote.

        Raises:
            FileFormatError: the file is missing, no JSON, or no policy.
        """
        return cls.from_dict(KIND.read(path), path)


def always(exit: int) -> Policy:
    """Policy of the always-exit test: every sample leaves at `exit` (0 = earliest), for any model.

    `exit` may be the number of early exits, which is the backbone's own output: nothing leaves early.

    Example:
        >>> always(exit=0).thresholds_for(2)
        (-inf, inf)
    """
    return Policy(criterion=Always(exit=exit), thresholds=())


def _floats(name: str, values: Sequence[float]) -> tuple[float, ...]:
    try:
        return tuple(float(v) for v in values)
    except (TypeError, ValueError) as error:
        raise PolicyError(f"Policy({name}={values!r}): give a list of numbers, one per early exit.") from error
