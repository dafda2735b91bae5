"""AOTInductor: a compiled library per segment, with no Python and no tracing left at run time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from offramp.lowering import export_segment
from offramp.runtimes.backends.compile import make_contiguous, require_compiler
from offramp.segments import Segment


def lower(segments: Sequence[Segment]) -> list[Callable[..., Sequence[Tensor]]]:
    """A loaded library for each segment.

    Raises:
        MissingExtraError: there is no C++ compiler, which is needed on a CPU.
        ExportError: the segment cannot be captured.
    """
    require_compiler("aoti", segments[0].example[0].device)
    return [_built(segment) for segment in segments]


def _built(segment: Segment) -> Callable[..., Sequence[Tensor]]:
    make_contiguous(segment)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = torch._inductor.aoti_compile_and_package(
            export_segment(segment),
            package_path=str(Path(folder) / "segment.pt2"),
            inductor_configs={"layout_optimization": False, "freezing": True},
        )
        library: Any = torch._inductor.aoti_load_package(path)

    def run(*tensors: Tensor) -> Sequence[Tensor]:
        found: Sequence[Tensor] = library(*(tensor.contiguous() for tensor in tensors))
        return found

    return run
