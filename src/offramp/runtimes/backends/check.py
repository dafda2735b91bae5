"""The build-time check of a backend: its programs compute what the segments compute, at every kind of batch size.

Compilers have been seen to compute a convolution wrongly without a word. The same calls warm the programs up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from offramp.errors import ExportError
from offramp.segments import Segment

BATCHES = (16, 7, 4, 1)
"""Kernels are chosen differently for one row, for a few and for many."""
HALVES = {torch.float16: 5e-2, torch.bfloat16: 1e-1}
"""Largest difference that rounding explains where half precision is in play, relative to the largest value."""
STEPS = 1e-1
"""The same where the model itself rounds to steps: a difference in the last bit may become a whole step."""
ON_CPU, ON_GPU = 1e-4, 1e-2
"""The same elsewhere; where torch lets them, GPUs round fp32 to 10 bits before they multiply."""

HALF = 0.5

Deciding = Callable[..., Sequence[Tensor]]
"""Takes the inputs of a network, and gives logits `[n, classes]` and exits `[n]`."""
Programs = Sequence[Callable[..., Sequence[Tensor]]]


def rows_of(segment: Segment, rows: int) -> list[Tensor]:
    """Inputs for a segment, with this many rows; no two are alike where they hold floating-point numbers.

    The example's rows are repeated, each scaled by a few percent: signs, zeros and infinities stay what they are.
    """
    noise = torch.Generator().manual_seed(0)
    return [_repeated(x, rows, noise) for x in segment.example]


def _repeated(x: Tensor, rows: int, noise: torch.Generator) -> Tensor:
    repeated = x[torch.arange(rows, device=x.device) % len(x)]
    if not x.is_floating_point():
        return repeated
    factors = 1 + 0.02 * torch.randn(rows, *[1] * (x.ndim - 1), generator=noise)
    return repeated * factors.to(x.device, x.dtype)


@torch.no_grad()
def warm_up(segments: Sequence[Segment], programs: Programs, sizes: Iterable[int], backend: str) -> None:
    """Runs every program once at each batch size: in some backends the first call at a new size is slow.

    Raises:
        ExportError: a program fails; the message names the stage.
    """
    for segment, program in zip(segments, programs, strict=True):
        for rows in sorted(set(sizes)):
            _run(segment, program, backend, rows_of(segment, rows))


@torch.no_grad()
def check_programs(segments: Sequence[Segment], programs: Programs, backend: str) -> None:
    """Compares each program with its segment.

    Raises:
        ExportError: they differ by more than rounding, or the program fails; the message names the stage.
    """
    for segment, program in zip(segments, programs, strict=True):
        inputs = rows_of(segment, max(BATCHES))
        expected = [x.clone() for x in segment(*(x.clone() for x in inputs))]
        tolerance = STEPS if _rounds(segment) else _tolerance([*inputs, *expected])
        for rows in BATCHES:
            # Both may work in place.
            found = _run(segment, program, backend, [x[:rows].clone() for x in inputs])
            if not _alike(found, expected, rows, tolerance):
                raise ExportError(
                    f"backend='{backend}' computes something else than the model in the stage that ends at "
                    f"'{segment.name}', at {rows} rows. Use another backend; 'eager' runs the model itself."
                )


@torch.no_grad()
def check_graph(segments: Sequence[Segment], graph: Deciding, expected: Deciding, backend: str) -> None:
    """Compares a graph of all segments with their programs, which were compared with the segments.

    Rounding may move a row over a threshold, though hardly half of the rows; all others must be answered alike.

    Args:
        segments: of the network.
        graph: of all of them.
        expected: the programs, one after the other.
        backend: its name, for error messages.

    Raises:
        ExportError: they decide differently, by more than rounding explains.
    """
    most = max(BATCHES)
    inputs = rows_of(segments[0], most)
    answers, exits = expected(*(x.clone() for x in inputs))
    tolerance = STEPS if any(map(_rounds, segments)) else _tolerance([*inputs, answers])
    for rows in BATCHES:
        found, taken = graph(*(x[:rows].clone() for x in inputs))
        same = taken == exits[:rows]
        strays = rows == most and float(same.double().mean()) < HALF
        if strays or not _close(found[same], answers[:rows][same], rows, tolerance):
            raise ExportError(
                f"backend='{backend}' decides otherwise in one graph than stage by stage, at {rows} rows. Use another "
                "backend; 'eager' runs the model itself."
            )


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


def _rounds(segment: Segment) -> bool:
    """Whether a part of it says of itself that it rounds, as quantizers do."""
    return any(getattr(module, "rounds_to_steps", False) for module in segment.modules())


def _tolerance(tensors: Sequence[Tensor]) -> float:
    """Largest relative difference that rounding explains where such tensors are computed with."""
    halves = [HALVES[x.dtype] for x in tensors if x.dtype in HALVES]
    return max(halves, default=ON_CPU if tensors[0].device.type == "cpu" else ON_GPU)


def _alike(found: Sequence[Tensor], expected: Sequence[Tensor], rows: int, tolerance: float) -> bool:
    return len(found) == len(expected) and all(
        _close(a, b, rows, tolerance) for a, b in zip(found, expected, strict=True)
    )


def _close(found: Tensor, expected: Tensor, rows: int, tolerance: float) -> bool:
    """Whether the first rows are equal up to rounding, relative to the largest value in any row."""
    part = expected[:rows]
    if found.shape != part.shape or found.dtype != part.dtype:
        return False
    if not part.is_floating_point():
        return torch.equal(found, part)
    finite = expected[expected.isfinite()].abs()
    # Scores are often all near 0 for want of training, and are compared with thresholds of the order of 1.
    scale = max(float(finite.max()) if finite.numel() else 0.0, 1.0 if expected.ndim == 1 else 1e-6)
    return bool(torch.allclose(found, part, rtol=tolerance, atol=tolerance * scale, equal_nan=True))
