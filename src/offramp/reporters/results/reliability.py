"""How far each exit's confidence can be believed, before and after its temperature."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from offramp.metrics import ReliabilityBin, ece, reliability
from offramp.policy import Policy
from offramp.recording import Recording
from offramp.reporters.results.source import Source


@dataclass(frozen=True)
class Diagram:
    """A reliability diagram and its expected calibration error, a share in [0, 1]."""

    ece: float
    bins: tuple[ReliabilityBin, ...]

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor) -> Diagram:
        """From logits `[n, classes]`, already divided by a temperature if one is wanted."""
        return cls(ece(logits, labels), tuple(reliability(logits, labels)))


@dataclass(frozen=True)
class ExitReliability:
    """One exit before and after its temperature; `after` is None where the policy has no temperature for it."""

    exit: int
    before: Diagram
    after: Diagram | None


@dataclass(frozen=True)
class Reliability:
    """All exits, earliest first, each over all samples whether or not they leave there."""

    source: Source
    exits: tuple[ExitReliability, ...]

    @classmethod
    def of(cls, recording: Recording, policy: Policy) -> Reliability:
        """From a recording with labels."""
        labels = recording.required_labels
        temperatures = [*(policy.temperatures or (None,) * (recording.exits - 1)), None]
        exits = [
            ExitReliability(
                exit=k,
                before=Diagram.of(logits, labels),
                after=None if t is None else Diagram.of(logits / t, labels),
            )
            for k, (logits, t) in enumerate(zip(recording.logits, temperatures, strict=True))
        ]
        return cls(Source.of(recording), tuple(exits))
