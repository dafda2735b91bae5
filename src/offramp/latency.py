"""Measured time: calls are interleaved in one run, so that a noisy machine disturbs all of them alike."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from offramp.cost import Cost
from offramp.errors import InputError

Call = Callable[[], object]
Network = Callable[[Any], Tensor]
"""Inputs on the device to logits `[n, classes]` there."""
Clock = Callable[[], float]
"""Tells seconds since some moment."""


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
    def of(cls, seconds: Sequence[float]) -> Timing:
        """Summary of measured times."""
        low, high = quantiles(seconds, 0.1, 0.9)
        return cls(statistics.median(seconds), low, high, len(seconds))

    def to_dict(self) -> dict[str, float]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Laps:
    """Wall times of something that was called for several requests, several times over.

    Attributes:
        seconds: `[rounds][requests]`.
    """

    seconds: tuple[tuple[float, ...], ...]

    @property
    def requests(self) -> int:
        """Number of requests in each round."""
        return len(self.seconds[0])

    @property
    def totals(self) -> list[float]:
        """Seconds of each round, all requests together."""
        return [sum(lap) for lap in self.seconds]

    @property
    def median(self) -> float:
        """Seconds of the median round."""
        return statistics.median(self.totals)

    def per_request(self, *shares: float) -> list[float]:
        """Quantiles of the seconds of one request, over all requests and rounds."""
        return quantiles([second for lap in self.seconds for second in lap], *shares)


@dataclass(frozen=True)
class ExitTimes:
    """Measured mean time per sample, by the exit at which it leaves: what `Cost` is in MACs.

    Attributes:
        seconds: `[exits]`, cumulative, every head passed on the way and its decision included.
        head_seconds: `[exits - 1]`, what each early head with its decision adds to `seconds` from its exit on.
        batch: number of samples per call at which it was measured; the time of a call is divided by it.
        device: on which.

    Raises:
        InputError: times that are not positive, or another number of them than of heads and one.
    """

    seconds: tuple[float, ...]
    head_seconds: tuple[float, ...]
    batch: int
    device: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "seconds", tuple(float(s) for s in self.seconds))
        object.__setattr__(self, "head_seconds", tuple(float(s) for s in self.head_seconds))
        fits = len(self.seconds) == len(self.head_seconds) + 1
        if not fits or not all(0 < s < float("inf") for s in self.seconds) or min(self.head_seconds, default=0) < 0:
            raise InputError(
                f"ExitTimes(seconds={self.seconds}, head_seconds={self.head_seconds}): give one positive time per exit "
                "and one of at least 0 per early head, as offramp.exit_times(model, inputs) does."
            )

    @property
    def cost(self) -> Cost:
        """The times in place of MACs."""
        return Cost(self.seconds, self.head_seconds)

    @property
    def plain(self) -> float:
        """Seconds per sample of the network without early heads."""
        return self.cost.plain

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "seconds": list(self.seconds), "head_seconds": list(self.head_seconds)}


def measure(
    calls: Mapping[str, Call], rounds: int = 20, warm_up: int = 2, device: torch.device | None = None
) -> dict[str, Timing]:
    """Times several calls in alternation: one of each per round, after `warm_up` rounds that do not count.

    Args:
        calls: what to time, by name.
        rounds: measured rounds.
        warm_up: rounds before.
        device: synchronised around each call where it is a GPU.
    """
    found = measure_requests({name: [call] for name, call in calls.items()}, rounds, warm_up, device)
    return {name: Timing.of(laps.totals) for name, laps in found.items()}


def measure_requests(
    calls: Mapping[str, Sequence[Call]],
    rounds: int = 20,
    warm_up: int = 2,
    device: torch.device | None = None,
    order: random.Random | None = None,
    clock: Clock = time.perf_counter,
) -> dict[str, Laps]:
    """Times several programs in alternation, each on requests of its own: one block of requests per round and program.

    Args:
        calls: by the program's name, one call per request.
        rounds: measured rounds.
        warm_up: rounds before, which do not count.
        device: synchronised around each call where it is a GPU.
        order: draws the order of the programs anew in every round, so that none always runs behind the same other; by
            default the order is that of `calls`.
        clock: tells the time.
    """
    names = list(calls)
    laps: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    for turn in range(warm_up + rounds):
        if order is not None:
            order.shuffle(names)
        for name in names:
            lap = tuple(_timed(call, device, clock) for call in calls[name])
            if turn >= warm_up:
                laps[name].append(lap)
    return {name: Laps(tuple(laps[name])) for name in calls}


def requests(network: Network, batches: Iterable[Any]) -> list[Call]:
    """One call per batch, from inputs on the device to predictions on the CPU."""
    return [_request(network, inputs) for inputs in batches]


def quantiles(values: Sequence[float], *shares: float) -> list[float]:
    """The measured values nearest to these quantiles; none is made up in between.

    Example:
        >>> quantiles([4.0, 1.0, 2.0, 3.0, 5.0], 0.5, 0.9)
        [3.0, 5.0]
    """
    ordered = sorted(values)
    return [ordered[round(share * (len(ordered) - 1))] for share in shares]


def _request(network: Network, inputs: Any) -> Call:
    return lambda: network(inputs).argmax(dim=-1).cpu()


def _timed(call: Call, device: torch.device | None, clock: Clock) -> float:
    _synchronise(device)
    start = clock()
    call()
    _synchronise(device)
    return clock() - start


def _synchronise(device: torch.device | None) -> None:
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
