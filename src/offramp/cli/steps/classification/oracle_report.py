"""By how much Distiller's label-gated totals overstate: the oracle, beside a gate that sees no label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import offramp as ofr
from offramp.cli.steps.classification.outcomes import Outcomes
from offramp.cli.steps.classification.statistics import Figures, figures
from offramp.oracle import label_gate


@dataclass(frozen=True)
class OracleReport:
    """Three ways to read the same thresholds T.

    Attributes:
        thresholds: T of each early exit, in nats.
        oracle: samples leave where the cross-entropy against their label is below T; cannot be deployed.
        same_rate: as many leave at each exit, the surest first, by a score that sees no label.
        deployed: samples leave by the policy, which is what runs.
    """

    thresholds: tuple[float, ...]
    oracle: Figures
    same_rate: Figures
    deployed: Figures

    @property
    def overstatement(self) -> float:
        """Points of top-1 accuracy that knowing the label adds at the same exit rates."""
        return self.oracle.top1 - self.same_rate.top1

    @classmethod
    def of(cls, outcomes: Outcomes, thresholds: Sequence[float], policy: ofr.Policy) -> OracleReport:
        """Of a pass over labelled samples; it is for showing only, and nothing may be chosen by it."""
        told = label_gate(outcomes.losses, thresholds)
        counts = torch.bincount(told, minlength=outcomes.exits)[:-1].tolist()
        return cls(
            tuple(thresholds),
            oracle=figures(outcomes, told),
            same_rate=figures(outcomes, outcomes.gated(counts)),
            deployed=figures(outcomes, outcomes.taken(policy)),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "thresholds": list(self.thresholds),
            "deployable": False,
            "overstatement_points": self.overstatement,
            "label_gated": self.oracle.to_dict(),
            "label_free_at_the_same_rates": self.same_rate.to_dict(),
            "deployed": self.deployed.to_dict(),
        }

    def lines(self) -> Iterator[str]:
        """The comparison in words."""
        listed = " ".join(f"{t:g}" for t in self.thresholds)
        shares = " ".join(f"{row.percent:.1f}" for row in self.oracle.exits)
        yield f"LABEL ORACLE (exits decided by the true label; cannot be deployed), T = {listed}, exits {shares} %:"
        yield f"  label-gated total, Distiller's figure:       top1 = {self.oracle.top1:.3f}"
        yield f"  label-free gate at the same exit rates:      top1 = {self.same_rate.top1:.3f}"
        yield f"  overstatement at the same exit rates:        {self.overstatement:+.3f} points"
        yield f"  deployed, at the thresholds as they are:     top1 = {self.deployed.top1:.3f}"
