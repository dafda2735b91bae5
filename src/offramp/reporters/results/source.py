"""Where numbers come from; every section of the results carries one."""

from __future__ import annotations

from dataclasses import dataclass

from offramp.recording import Recording


@dataclass(frozen=True)
class Source:
    """Split, sample count, seed and device behind a section's numbers.

    Attributes:
        split: name of the split.
        samples: how many samples of it.
        seed: the run's seed; None where it is not known.
        device: what computed the logits, e.g. "cpu".
    """

    split: str
    samples: int
    seed: int | None
    device: str

    @classmethod
    def of(cls, recording: Recording) -> Source:
        """From what a recording remembers in its `meta`; "unnamed" and "unknown" where it does not say."""
        meta = recording.meta
        seed = meta.get("seed")
        return cls(
            split=str(meta.get("split", "unnamed")),
            samples=recording.samples,
            seed=None if seed is None else int(seed),
            device=str(meta.get("device", "unknown")),
        )

    def describe(self) -> str:
        """In words, for captions.

        Example:
            >>> Source("test", 10000, 0, "cpu").describe()
            'test split, n = 10,000, seed 0, cpu'
        """
        seed = "seed unknown" if self.seed is None else f"seed {self.seed}"
        return f"{self.split} split, n = {self.samples:,}, {seed}, {self.device}"
