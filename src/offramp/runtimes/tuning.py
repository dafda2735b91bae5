"""How long each segment takes in each backend, by batch size: measured once, kept with the model, asked at run time."""

from __future__ import annotations

import math
import platform
from bisect import bisect
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import torch

from offramp.documents import DocumentKind

KIND = DocumentKind("offramp.tuning", 1, "tuning", "Measure one with deploy(model, policy, backend='auto').")

Seconds = tuple[tuple[float, ...], ...]
"""`[segments][batch sizes]`."""


@dataclass(frozen=True)
class Place:
    """Where and of what times were measured; elsewhere they say nothing.

    Attributes:
        device: what computed, e.g. a GPU's name.
        threads: of torch; of no account on a GPU.
        torch_version: of torch.
        segments: names of the segments.
        dtype: of the first segment's input, e.g. "torch.float32".
        channels_last: whether images are laid out with their channels last.
    """

    device: str
    threads: int
    torch_version: str
    segments: tuple[str, ...]
    dtype: str
    channels_last: bool

    @classmethod
    def here(cls, device: torch.device, segments: tuple[str, ...], dtype: torch.dtype, channels_last: bool) -> Self:
        """This machine, now."""
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(device)
        return cls(name, torch.get_num_threads(), str(torch.__version__), segments, str(dtype), channels_last)

    def differences(self, other: Place) -> list[str]:
        """What differs, in words."""
        mine, theirs = asdict(self), asdict(other)
        return [f"{name} {mine[name]!r} instead of {theirs[name]!r}" for name in mine if mine[name] != theirs[name]]


def _processor(device: torch.device) -> str:
    return f"{device.type} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


@dataclass(frozen=True)
class Tuning:
    """Measured times t(n) of every segment in every backend.

    Attributes:
        place: where and of what they were measured.
        batch_sizes: at which, rising.
        seconds: by backend, `[segments][batch sizes]`, medians.
        left_out: why a backend was not measured, by its name.
    """

    place: Place
    batch_sizes: tuple[int, ...]
    seconds: Mapping[str, Seconds]
    left_out: Mapping[str, str]

    def fastest(self, segment: int) -> tuple[str, ...]:
        """The backend with the least time for a segment, by batch size."""
        return tuple(
            min(self.seconds, key=lambda name: self.seconds[name][segment][i]) for i in range(len(self.batch_sizes))
        )

    @property
    def limits(self) -> tuple[float, ...]:
        """Numbers of rows between the measured batch sizes: what is below is nearer, by ratio, to the smaller one."""
        return tuple(math.sqrt(a * b) for a, b in pairwise(self.batch_sizes))

    def choice(self, segment: int, rows: int) -> str:
        """The backend for a segment and a number of rows: the fastest at the nearest measured batch size, by ratio."""
        return self.fastest(segment)[bisect(self.limits, rows)]

    @property
    def chosen(self) -> tuple[str, ...]:
        """Every backend that is the fastest somewhere."""
        found = {name for k in range(len(self.place.segments)) for name in self.fastest(k)}
        return tuple(name for name in self.seconds if name in found)

    def to_dict(self) -> dict[str, Any]:
        """Plain data with format and version."""
        return KIND.stamp(asdict(self))

    @classmethod
    def from_dict(cls, data: Any, where: str | Path = "What was given") -> Self:
        """Inverse of `to_dict`, also after JSON; `where` is the file it is from, for errors.

        Raises:
            FileFormatError: no tuning, damaged, or written by a newer version.
        """
        data = KIND.check(data, where)
        try:
            place = Place(**data["place"] | {"segments": tuple(data["place"]["segments"])})
            seconds = {name: tuple(tuple(map(float, row)) for row in rows) for name, rows in data["seconds"].items()}
            return cls(place, tuple(map(int, data["batch_sizes"])), seconds, dict(data["left_out"]))._complete()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise KIND.damaged(where, error) from error

    def _complete(self) -> Self:
        shape = (len(self.place.segments), len(self.batch_sizes))
        for name, rows in self.seconds.items():
            if len(rows) != shape[0] or any(len(row) != shape[1] for row in rows):
                raise ValueError(f"the times of {name!r} are not {shape[0]} segments x {shape[1]} batch sizes")
        if not self.seconds or not self.batch_sizes:
            raise ValueError("nothing was measured")
        return self

    def save(self, path: str | Path) -> None:
        """Writes it as a JSON file.

        Raises:
            FileFormatError: it cannot be written there.
        """
        KIND.write(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            FileFormatError: the file is missing, no JSON, or no tuning.
        """
        return cls.from_dict(KIND.read(path), path)
