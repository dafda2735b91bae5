"""AOTInductor: a compiled library per segment, with no Python and no tracing left at run time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch._inductor.package.package import load_package

from offramp.runtimes.inductor import OPTIONS, compiling, folded, laid_out, require_compiler
from offramp.segments import Segment


def lower(segments: Sequence[Segment]) -> list[Callable[..., Sequence[Tensor]]]:
    """A loaded library for each segment.

    Raises:
        MissingExtraError: there is no C++ compiler, which is needed on a CPU.
        ExportError: a segment cannot be captured or compiled.
    """
    require_compiler("aoti", segments[0].example[0].device)
    return [_built(segment) for segment in segments]


def _built(segment: Segment) -> Callable[..., Sequence[Tensor]]:
    program, layouts = folded(segment)
    device = segment.example[0].device
    index = -1 if device.index is None else device.index
    with tempfile.TemporaryDirectory() as folder, torch.no_grad(), compiling(segment, "AOTInductor"):
        file = str(Path(folder) / "segment.pt2")
        path = torch._inductor.aoti_compile_and_package(program, package_path=file, inductor_configs=OPTIONS)
        # One runner serves one thread at a time; they share the weights.
        runners = os.cpu_count() or 1
        library = load_package(path, num_runners=runners, device_index=index)
    # Calling the library itself would parse the structure of its inputs anew each time.
    call = library.loader.boxed_run

    def run(*tensors: Tensor) -> Sequence[Tensor]:
        found: Sequence[Tensor] = call(laid_out(layouts, tensors))
        return found

    return run
