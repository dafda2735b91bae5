"""CUDA graphs: each segment recorded at a few batch sizes, and replayed without launching its kernels one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from offramp.errors import InputError
from offramp.segments import Segment

if TYPE_CHECKING:
    from offramp.runtimes.staged import Program

LARGEST = 1024
"""Rows above which a segment runs unrecorded: kernels take longer than their launches there."""
WARM_UPS = 3
"""Runs before a recording: libraries choose their kernels and allocate their workspaces in the first ones."""


@dataclass(frozen=True)
class Recorded:
    """One run of a program on buffers of its own.

    Attributes:
        inputs: to be filled before `replay`.
        outputs: filled by it.
        replay: runs what was recorded.
    """

    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    replay: Callable[[], None]


Record = Callable[["Program", Sequence[Tensor]], Recorded]
"""`(program, inputs) -> recorded`; the inputs become its buffers."""


def lower(segments: Sequence[Segment]) -> list[Program]:
    """A program for each segment that records itself when it first meets a batch size, up to the next power of two.

    Raises:
        InputError: the model is not on a CUDA device.
    """
    device = segments[0].example[0].device
    if device.type != "cuda":
        raise InputError(
            f"backend='cudagraphs' records CUDA kernels, the model is on {device}: move it to a CUDA device, or use "
            "'eager', or 'auto', which takes the fastest backend of those that are here."
        )
    return [Bucketed(segment, record) for segment in segments]


class Bucketed:
    """Runs a program at a few batch sizes only, with rows that nobody asked for behind the others.

    Args:
        program: whose rows do not depend on each other.
        record: makes the recording for a bucket.
        largest: rows above which the program itself runs.
    """

    def __init__(self, program: Program, record: Record, largest: int = LARGEST) -> None:
        self.program = program
        self.largest = largest
        self._record = record
        self._recorded: dict[int, Recorded] = {}
        self._lock = threading.Lock()

    @property
    def buckets(self) -> tuple[int, ...]:
        """Batch sizes that have been recorded, rising."""
        return tuple(sorted(self._recorded))

    @torch.no_grad()
    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
        """Runs the program on all rows; the outputs are the caller's own."""
        rows = len(tensors[0])
        if rows > self.largest:
            return self.program(*tensors)
        with self._lock:  # a recording has one set of buffers
            recorded = self._for(rows, tensors)
            for buffer, tensor in zip(recorded.inputs, tensors, strict=True):
                buffer[:rows].copy_(tensor)
            recorded.replay()
            return [x[:rows].clone(memory_format=torch.preserve_format) for x in recorded.outputs]

    def _for(self, rows: int, tensors: Sequence[Tensor]) -> Recorded:
        bucket = 1 << (rows - 1).bit_length()
        if bucket not in self._recorded:
            self._recorded[bucket] = self._record(self.program, [_filled(t, bucket) for t in tensors])
        return self._recorded[bucket]


def record(program: Program, inputs: Sequence[Tensor]) -> Recorded:
    """Records one run on the current device.

    Other threads may use the device meanwhile. What cannot be recorded, such as a value read back to the CPU, raises.
    """
    stream = torch.cuda.Stream(torch.cuda.current_device())  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            program(*(x.clone() for x in inputs))  # a program may work in place
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        outputs = program(*(x.clone() for x in inputs))
    return Recorded(inputs, outputs, graph.replay)


def _filled(tensor: Tensor, rows: int) -> Tensor:
    """A buffer of so many rows like the first ones of a tensor, which the program can compute with."""
    return tensor[torch.arange(rows, device=tensor.device) % len(tensor)].clone(memory_format=torch.preserve_format)
