"""What a runtime must know beside its programs: which exits are open, at which thresholds, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from offramp.decisions import Decisions
from offramp.exit_model import ExitModel
from offramp.policy import Policy


@dataclass(frozen=True, eq=False)
class Plan:
    """A policy laid out for one model: only the exits at which somebody may leave, or whose logits are read, are stops.

    Attributes:
        policy: decides who leaves.
        stops: numbers of the exits at which a segment ends, in order; the last is the backbone's own output.
        thresholds: one per stop but the last; `inf` where a head runs only because later exits read its logits.
        costs: `[exits]` float64, MACs of a row by the exit it takes, heads that never run left out.
    """

    policy: Policy
    stops: tuple[int, ...]
    thresholds: tuple[float, ...]
    costs: Tensor

    @classmethod
    def of(cls, model: ExitModel, policy: Policy) -> Plan:
        """Lays a policy out.

        Raises:
            PolicyError: the policy is for another number of exits or classes.
        """
        last = model.exits - 1
        policy.check(last, model.num_classes)
        thresholds = policy.thresholds_for(last)
        needed = policy.heads_needed(last)
        early = tuple(k for k in range(last) if needed[k])
        # Nothing behind an exit that lets every row go is worth building, except for rows that are not numbers.
        return cls(policy, (*early, last), tuple(thresholds[k] for k in early), model.cost.under(needed))

    @property
    def exits(self) -> int:
        """Number of exits of the model, the backbone's own output included."""
        return len(self.costs)

    @property
    def uses_earlier(self) -> bool:
        """Whether the criterion reads earlier logits, which then travel with the rows."""
        return self.policy.criterion.uses_earlier

    def decisions(self, logits: Tensor, exits: Tensor) -> Decisions:
        """What has been decided, with its costs.

        Args:
            logits: `[n, classes]` that the rows are answered with.
            exits: `[n]`, where they left.
        """
        return Decisions(logits, exits, self.exits, self.costs[exits.cpu()], self.policy.levels(logits, exits))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, the inverse of `from_dict`."""
        return {
            "policy": self.policy.to_dict(),
            "stops": list(self.stops),
            "thresholds": [t if math.isfinite(t) else str(t) for t in self.thresholds],
            "costs": self.costs.tolist(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Plan:
        """Reads what `to_dict` wrote.

        Raises:
            FileFormatError: the policy in it is of another kind or newer.
            KeyError: a field is missing.
        """
        thresholds: Sequence[Any] = data["thresholds"]
        return cls(
            Policy.from_dict(data["policy"]),
            tuple(int(k) for k in data["stops"]),
            tuple(float(t) for t in thresholds),
            torch.tensor(data["costs"], dtype=torch.float64),
        )
