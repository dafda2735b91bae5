"""Measures every backend that can run a network, and hands each segment to the fastest one for the rows it gets."""

from __future__ import annotations

import copy
import warnings
from bisect import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from offramp.errors import InputError, OfframpError
from offramp.latency import measure
from offramp.lowering import OnnxSegment
from offramp.runtimes.backends import BACKENDS
from offramp.runtimes.backends import backend as find_backend
from offramp.runtimes.backends.check import check_programs, rows_of, warm_up
from offramp.runtimes.staged import Program
from offramp.runtimes.tuning import Place, Seconds, Tuning
from offramp.segments import Segment

ROUNDS = 7
BATCH_SIZES = (1, 8, 64)

Lowered = Mapping[str, Sequence[Program]]
"""The programs of all segments, by backend."""


class ByRows:
    """A program that hands its rows to another one, depending on how many they are.

    Args:
        limits: rising; up to the first one the first program runs, and so on.
        programs: one more than limits.
    """

    def __init__(self, limits: Sequence[float], programs: Sequence[Program]) -> None:
        self.limits = tuple(limits)
        self.programs = tuple(programs)

    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
        """Runs the program for so many rows."""
        return self.programs[bisect(self.limits, len(tensors[0]))](*tensors)


def lowered(
    backend: str, segments: Sequence[Segment], sizes: Iterable[int] = (), parts: Sequence[OnnxSegment] | None = None
) -> Sequence[Program]:
    """The checked programs of a backend, warmed up at these batch sizes.

    Args:
        backend: "eager" or one of `BACKENDS`.
        segments: which are copied.
        sizes: numbers of rows.
        parts: their ONNX forms, where they are there already.

    Raises:
        MissingExtraError: the backend's packages, or a compiler, are not installed.
        ExportError: a segment has no form that the backend takes, or computes something else in it.
    """
    copies: Any = parts or copy.deepcopy(segments)
    programs = copies if backend == "eager" else find_backend(backend)(copies)
    check_programs(segments, programs, backend)
    warm_up(segments, programs, {2, *sizes}, backend)
    return programs


def tuned(
    segments: Sequence[Segment], channels_last: bool, sizes: Sequence[int] | None, known: Tuning | None
) -> tuple[Sequence[Program], Tuning]:
    """Programs of the fastest backends.

    Args:
        segments: of the network.
        channels_last: whether it is laid out so.
        sizes: batch sizes at which to measure; None for a few that are usual.
        known: measured earlier; if it was for this network on such a machine, nothing is measured.
    """
    example = segments[0].example[0]
    place = Place.here(example.device, tuple(s.name for s in segments), example.dtype, channels_last)
    if known is not None and _fits(known, place):
        found, missing = _lower(known.chosen, segments, known.batch_sizes)
        if not missing:
            return _programs(known, found), known
        warnings.warn(f"The tuning given to deploy is measured anew, as this is not here: {missing}", stacklevel=4)
    wanted = _rising(sizes or BATCH_SIZES)
    everything, left_out = _lower(["eager", *BACKENDS], segments, wanted)
    tuning = Tuning(place, wanted, time_programs(segments, everything, wanted), left_out)
    return _programs(tuning, everything), tuning


def time_programs(segments: Sequence[Segment], found: Lowered, sizes: Sequence[int]) -> dict[str, Seconds]:
    """Median seconds by backend, `[segments][batch sizes]`; the backends take turns."""
    device = segments[0].example[0].device
    times: dict[str, list[list[float]]] = {name: [[] for _ in segments] for name in found}
    with torch.no_grad():
        for k, segment in enumerate(segments):
            for rows in sizes:
                inputs = rows_of(segment, rows)
                calls = {name: _call(programs[k], inputs) for name, programs in found.items()}
                for name, timing in measure(calls, rounds=ROUNDS, device=device).items():
                    times[name][k].append(timing.median)
    return {name: tuple(tuple(row) for row in rows) for name, rows in times.items()}


def _call(program: Program, inputs: Sequence[Tensor]) -> Callable[[], object]:
    return lambda: program(*inputs)


def _fits(known: Tuning, place: Place) -> bool:
    differences = place.differences(known.place)
    if differences:
        warnings.warn(
            f"The tuning given to deploy was measured elsewhere, and is measured anew: {'; '.join(differences)}.",
            stacklevel=4,
        )
    return not differences


def _lower(
    names: Iterable[str], segments: Sequence[Segment], sizes: Sequence[int]
) -> tuple[dict[str, Sequence[Program]], dict[str, str]]:
    """Programs by backend, and why the others have none."""
    found: dict[str, Sequence[Program]] = {}
    left_out: dict[str, str] = {}
    for name in names:
        try:
            found[name] = lowered(name, segments, sizes)
        except OfframpError as error:
            left_out[name] = str(error)
    return found, left_out


def _programs(tuning: Tuning, found: Lowered) -> list[Program]:
    """One program per segment; programs that are nowhere the fastest are let go."""
    return [
        ByRows(tuning.limits, [found[name][k] for name in tuning.fastest(k)]) for k in range(len(tuning.place.segments))
    ]


def _rising(sizes: Sequence[int]) -> tuple[int, ...]:
    if min(sizes) < 1:
        raise InputError(f"deploy(batch_sizes={list(sizes)}): batch sizes are 1 or more.")
    return tuple(sorted(set(sizes)))
