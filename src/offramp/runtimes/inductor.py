"""What the backends of torch's own compiler share: a program without batch norms, and inputs laid out as it expects.

Inductor computes addresses from the strides that it saw when it compiled. Inputs laid out otherwise would be read
wrongly without a word, so every call brings them into the layout of the example.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from offramp.errors import ExportError, MissingExtraError
from offramp.lowering import export_segment
from offramp.lowering.folding import fold_batch_norms
from offramp.segments import Segment

OPTIONS = {"layout_optimization": False}
"""Layouts stay as they are: choosing others would depend on the batch size, and was seen to compute wrongly."""


def require_compiler(backend: str, device: torch.device) -> None:
    """Makes sure that code for this device can be compiled.

    Raises:
        MissingExtraError: it is the CPU, and there is no C++ compiler.
    """
    known = [os.environ.get("CXX", ""), "g++", "clang++"]
    if device.type == "cpu" and not any(name and shutil.which(name) for name in known):
        raise MissingExtraError(
            f"backend='{backend}' needs a C++ compiler on a CPU, and neither g++ nor clang++ is there. Install one, "
            "or use backend='onnxruntime'."
        )


@dataclass(frozen=True)
class Layout:
    """The order in which the dimensions of a dense tensor lie in memory, the outermost first."""

    order: tuple[int, ...]
    back: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> Self:
        """Reads it off a tensor with two rows at least."""
        strides = tensor.stride()
        order = sorted(range(tensor.ndim), key=lambda d: (-strides[d], d))
        return cls(tuple(order), tuple(order.index(d) for d in range(tensor.ndim)))

    def __call__(self, tensor: Tensor) -> Tensor:
        """The same values in this layout; copied only where they lie otherwise."""
        inside = tensor.permute(self.order)
        return tensor if inside.is_contiguous() else inside.contiguous().permute(self.back)


def folded(segment: Segment) -> tuple[ExportedProgram, list[Layout]]:
    """A segment exported without batch norms, for any number of rows, and the layouts of its inputs.

    Raises:
        ExportError: the segment cannot be captured.
    """
    module = fold_batch_norms(export_segment(segment).module(check_guards=False))
    # A clone is dense: views that repeat or skip memory have no layout that other inputs could be brought into.
    example = tuple(x.clone() for x in segment.example)
    rows = Dim("rows", min=1)
    with torch.no_grad(), compiling(segment, "export"):
        program = torch.export.export(module, example, dynamic_shapes=[{0: rows} for _ in example], strict=False)
    return program, [Layout.of(x) for x in example]


def laid_out(layouts: Sequence[Layout], tensors: Sequence[Tensor]) -> list[Tensor]:
    """The inputs in the layouts they were compiled for."""
    return [layout(tensor) for layout, tensor in zip(layouts, tensors, strict=True)]


@contextmanager
def compiling(segment: Segment, what: str) -> Iterator[None]:
    """Turns whatever a compiler raises into an error that names the segment; its warnings are about its own internals.

    Raises:
        ExportError: something was raised.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # compilers raise kinds of their own
        raise ExportError(
            f"{what} cannot compile the segment that ends at '{segment.name}' ({type(error).__name__}: "
            f"{_short(error)}). Use another backend, e.g. 'onnxruntime', or 'eager', which runs every model."
        ) from error


def _short(error: Any, most: int = 300) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= most else f"{text[:most]} ..."
