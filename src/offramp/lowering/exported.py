"""A segment as a `torch.export` program: one graph for every number of rows, its weights shared with the model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from offramp.errors import ExportError
from offramp.segments import Segment


class ExportedSegment(nn.Module):
    """A segment made of an exported program; lowered like one that was cut from a model.

    Args:
        exported: from `export_segment`, or read from a file.
        name: the cut that ends it, or "output".
        exit: number of the exit that ends it.
        example: inputs of `forward`, a few rows.
    """

    def __init__(self, exported: ExportedProgram, name: str, exit: int, example: Sequence[Tensor]) -> None:
        super().__init__()
        self.exported = exported
        self.name = name
        self.exit = exit
        self.example = tuple(example)
        self.body = exported.module()

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """What `Segment.forward` gives."""
        return tuple(self.body(*tensors))


def export_segment(segment: Segment | ExportedSegment) -> ExportedProgram:
    """Exports a segment; the first dimension of every input is one shared symbol, from 1 row upwards.

    The batch is never compacted inside, which compilers are known to get wrong for convolutions.

    Args:
        segment: in evaluation mode; its example has at least two rows, as torch takes 0 and 1 for constants.

    Raises:
        ExportError: the segment cannot be captured, or only for some numbers of rows.
    """
    if isinstance(segment, ExportedSegment):
        return segment.exported
    rows = Dim("rows", min=1)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about torch's own internals, which no caller can change
            return torch.export.export(
                segment,
                segment.example,
                dynamic_shapes=(tuple({0: rows} for _ in segment.example),),
                strict=False,
            )
    except Exception as error:  # torch raises many kinds, its own and those of the model's code
        raise ExportError(
            f"The segment that ends at '{segment.name}' cannot be exported for every number of rows "
            f"({type(error).__name__}: {_first_lines(error)}). Cut elsewhere, or deploy with the eager backend."
        ) from error


def _first_lines(error: Exception, most: int = 300) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= most else f"{text[:most]} ..."
