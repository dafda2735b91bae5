"""Measured time: calls are interleaved in one run, so that a noisy machine disturbs all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch


@dataclass(frozen=True)
class Timing:
    """Wall times of one call.

    Attributes:
        median: seconds.
        low: 10 % quantile, seconds.
        high: 90 % quantile, seconds.
        rounds: how many times it was measured.
    """

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        """Summary of measured times."""
        ordered = sorted(seconds)
        last = len(ordered) - 1
        return cls(statistics.median(ordered), ordered[round(0.1 * last)], ordered[round(0.9 * last)], len(ordered))

    def to_dict(self) -> dict[str, float]:
        """Plain data."""
        return asdict(self)


def measure(
    calls: Mapping[str, Callable[[], object]],
    rounds: int = 20,
    warm_up: int = 2,
    device: torch.device | None = None,
) -> dict[str, Timing]:
    """Times several calls in alternation: one of each per round, after `warm_up` rounds that do not count.

    Args:
        calls: what to time, by name.
        rounds: measured rounds.
        warm_up: rounds before.
        device: synchronised around each call where it is a GPU.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(warm_up + rounds):
        for name, call in calls.items():
            elapsed = _timed(call, device)
            if turn >= warm_up:
                seconds[name].append(elapsed)
    return {name: Timing.of(times) for name, times in seconds.items()}


def _timed(call: Callable[[], object], device: torch.device | None) -> float:
    _synchronise(device)
    start = time.perf_counter()
    call()
    _synchronise(device)
    return time.perf_counter() - start


def _synchronise(device: torch.device | None) -> None:
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
