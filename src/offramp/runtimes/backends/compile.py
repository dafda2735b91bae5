"""torch.compile: a graph per segment, for every number of rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from offramp.errors import MissingExtraError
from offramp.lowering import export_segment
from offramp.lowering.folding import fold_batch_norms
from offramp.segments import Segment


def lower(segments: Sequence[Segment]) -> list[Callable[..., Sequence[Tensor]]]:
    """A compiled function for each segment.

    What is compiled is the exported program, which has no Python left to guard on: one graph serves every batch size.
    The layouts of convolutions are kept, as choosing them would depend on the batch size.

    Raises:
        MissingExtraError: there is no C++ compiler, which torch.compile needs on a CPU.
        ExportError: the segment cannot be captured.
    """
    require_compiler("compile", segments[0].example[0].device)
    return [_compiled(segment) for segment in segments]


def require_compiler(backend: str, device: torch.device) -> None:
    """Makes sure that code for this device can be compiled.

    Raises:
        MissingExtraError: it is the CPU, and there is no C++ compiler.
    """
    if device.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        raise MissingExtraError(
            f"backend='{backend}' needs a C++ compiler on a CPU, and neither g++ nor clang++ is there. Install one, "
            "or use backend='onnxruntime'."
        )


def make_contiguous(segment: Segment) -> None:
    """Stores every weight in the default layout: with layouts fixed, the compiler takes that for granted."""
    for tensor in (*segment.parameters(), *segment.buffers()):
        tensor.data = tensor.data.contiguous()


def _compiled(segment: Segment) -> Callable[..., Sequence[Tensor]]:
    make_contiguous(segment)
    body: Any = fold_batch_norms(export_segment(segment).module())
    # A flat list of tensors needs neither torch's checks of its structure nor code that folds it.
    body._forward_pre_hooks.clear()
    body.graph.set_codegen(fx.graph.CodeGen())
    body.recompile()
    compiled: Any = torch.compile(body, fullgraph=True, options={"layout_optimization": False, "freezing": True})

    mark: Any = torch._dynamo.decorators.mark_unbacked

    def run(*tensors: Tensor) -> Sequence[Tensor]:
        dense = [tensor.contiguous() for tensor in tensors]
        for tensor in dense:
            mark(tensor, 0)
        found: Sequence[Tensor] = compiled(*dense)
        return found

    return run
