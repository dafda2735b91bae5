"""The build-time check of a backend: its programs compute what the segments compute, at every kind of batch size.

Compilers have been seen to compute a convolution wrongly without a word. The same calls warm the programs up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from offramp.backbones import close
from offramp.errors import ExportError
from offramp.segments import Segment

BATCHES = (16, 7, 4, 1)
"""Kernels are chosen differently for one row, for a few and for many."""


def check_programs(
    segments: Sequence[Segment], programs: Sequence[Callable[..., Sequence[Tensor]]], backend: str
) -> None:
    """Compares each program with its segment.

    Raises:
        ExportError: they differ by more than rounding, or the program fails; the message names the stage.
    """
    with torch.no_grad():
        for segment, program in zip(segments, programs, strict=True):
            for rows in BATCHES:
                inputs = [x[torch.arange(rows, device=x.device) % len(x)] for x in segment.example]
                expected = segment(*(x.clone() for x in inputs))
                _compare(segment, backend, rows, expected, _run(segment, program, backend, inputs))


def _run(
    segment: Segment, program: Callable[..., Sequence[Tensor]], backend: str, inputs: Sequence[Tensor]
) -> Sequence[Tensor]:
    try:
        return program(*inputs)
    except Exception as error:  # each backend raises kinds of its own
        raise ExportError(
            f"backend='{backend}' cannot run the stage that ends at '{segment.name}' on {len(inputs[0])} rows "
            f"({type(error).__name__}: {error}). Use another backend; 'eager' runs every model."
        ) from error


def _compare(segment: Segment, backend: str, rows: int, expected: Sequence[Tensor], found: Sequence[Tensor]) -> None:
    same = len(found) == len(expected) and all(close(a, b) for a, b in zip(found, expected, strict=True))
    if not same:
        raise ExportError(
            f"backend='{backend}' computes something else than the model in the stage that ends at '{segment.name}', "
            f"at {rows} rows. Use another backend; 'eager' runs the model itself."
        )
