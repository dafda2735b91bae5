"""A segment as an ONNX model: inputs `in_i`, outputs `logits`, `score`, `carry_i`; the last segment gives `logits`."""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from offramp.errors import ExportError, MissingExtraError
from offramp.lowering.exported import ExportedSegment, export_segment
from offramp.segments import Segment

if TYPE_CHECKING:
    import onnx

OPSET = 18
"""The converters of torch are written for it, so nothing is converted twice; runtimes of recent years read it."""


class OnnxSegment:
    """A segment of which only the ONNX form is at hand.

    Args:
        model: what `to_onnx` gave.
        name: the cut that ends it, or "output".
        exit: number of the exit that ends it.
    """

    def __init__(self, model: onnx.ModelProto, name: str, exit: int) -> None:
        self.model = model
        self.name = name
        self.exit = exit

    @cached_property
    def example(self) -> tuple[Tensor, ...]:
        """Inputs of the right shapes, two rows of zeros."""
        helper: Any = importlib.import_module("onnx.helper")
        found = []
        for value in self.model.graph.input:
            kind = value.type.tensor_type
            shape = [2, *(size.dim_value for size in kind.shape.dim[1:])]
            found.append(torch.from_numpy(np.zeros(shape, helper.tensor_dtype_to_np_dtype(kind.elem_type))))
        return tuple(found)


def to_onnx(segment: Segment | ExportedSegment | OnnxSegment) -> onnx.ModelProto:
    """Converts a segment; its first dimension stays dynamic, and batch norms are folded into convolutions.

    Args:
        segment: in evaluation mode, on any device; the weights are copied into the model.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
        ExportError: an operation has no ONNX form, or the segment cannot be captured.
    """
    if isinstance(segment, OnnxSegment):
        return segment.model
    require_onnx()
    exported = export_segment(segment)
    inputs, outputs = onnx_names(len(segment.example), len(exported.graph_signature.user_outputs))
    try:
        with torch.no_grad(), _quietly():
            program = torch.onnx.export(
                exported,
                input_names=inputs,
                output_names=outputs,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter wraps whatever its converters raise
        raise ExportError(
            f"The segment that ends at '{segment.name}' has no ONNX form: {_reason(error)} Use format='pt2', or "
            "replace that operation in the model."
        ) from error
    assert program is not None  # without a file to write, the exporter returns the program
    return program.model_proto


def onnx_names(inputs: int, outputs: int) -> tuple[list[str], list[str]]:
    """Names of a segment's inputs and outputs.

    Example:
        >>> onnx_names(2, 3)
        (['in_0', 'in_1'], ['logits', 'score', 'carry_0'])
    """
    names = ["logits", "score", *(f"carry_{i}" for i in range(outputs - 2))]
    return [f"in_{i}" for i in range(inputs)], names[:outputs]


def require_onnx(*more: str) -> None:
    """Makes sure that the packages for ONNX are there.

    Args:
        *more: other packages of the extra, beside onnx and onnxscript.

    Raises:
        MissingExtraError: one is missing.
    """
    for package in ("onnx", "onnxscript", *more):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingExtraError(
                f"ONNX needs the package {package} ({error}). Install it with: pip install 'offramp[onnx]'"
            ) from error


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The exporter prints and warns about its own internals at length."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _reason(error: Exception) -> str:
    """The innermost cause: the outer messages are generic instructions."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}."
