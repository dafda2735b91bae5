"""Measured time with exits against the plain network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from offramp.latency import Timing
from offramp.reporters.results.source import Source

TITLES = {"onnxruntime": "ONNX Runtime"}
"""Backends as their makers write them."""


@dataclass(frozen=True)
class Spread:
    """Seconds **per sample**: median, and 10 % and 90 % quantiles over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, timing: Timing, samples: int) -> Spread:
        """From the times of calls that each handled this many samples."""
        return cls(timing.median / samples, timing.low / samples, timing.high / samples)


@dataclass(frozen=True)
class Speed:
    """Both networks on the same samples, measured in turns.

    Attributes:
        source: how many samples were timed, and where.
        batch: samples per call of the network.
        threads: of the CPU.
        rounds: how often it was measured.
        shares: `[exits]`, share of the timed samples that leaves at each exit.
        plain: the network without exits.
        exits: the deployed runtime.
        streamed: whether the runtime was given the batches as a stream, in which rows that go on are collected from
            several of them.
        ratio: median time with exits over that without; below 1 is faster.
        backend: that ran both networks.
    """

    source: Source
    batch: int
    threads: int
    rounds: int
    shares: tuple[float, ...]
    plain: Spread
    exits: Spread
    streamed: bool
    ratio: float
    backend: str = "eager"

    @property
    def calls(self) -> str:
        """How the samples were handed over, in words."""
        by = "" if self.backend == "eager" else f", {TITLES.get(self.backend, self.backend)}"
        return f"batch {self.batch}{', stream' * self.streamed}{by}"

    @classmethod
    def of(
        cls,
        source: Source,
        batch: int,
        threads: int,
        shares: Sequence[float],
        plain: Timing,
        exits: Timing,
        streamed: bool = False,
        backend: str = "eager",
    ) -> Speed:
        """From the times of calls that each handled all samples of `source`."""
        return cls(
            source=source,
            batch=batch,
            threads=threads,
            rounds=plain.rounds,
            shares=tuple(shares),
            plain=Spread.of(plain, source.samples),
            exits=Spread.of(exits, source.samples),
            streamed=streamed,
            ratio=exits.median / plain.median,
            backend=backend,
        )
