"""What the backends that read ONNX share: the models of segments, and tensors seen as arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from offramp.errors import ExportError, InputError
from offramp.lowering import OnnxSegment, to_onnx
from offramp.segments import Segment

T = TypeVar("T")


def in_onnx(backend: str, segments: Sequence[Segment]) -> list[OnnxSegment]:
    """The ONNX forms of segments.

    Args:
        backend: its name, for error messages.
        segments: on the CPU.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
        ExportError: an operation has no ONNX form.
        InputError: the model is not on the CPU, or in bfloat16.
    """
    for tensor in segments[0].example:
        _check(backend, tensor)
    return [OnnxSegment(to_onnx(segment), segment.name, segment.exit) for segment in segments]


def each_loaded(backend: str, segments: Sequence[Segment], load: Callable[[bytes], T]) -> list[T]:
    """Loads the ONNX model of every segment.

    Args:
        backend: its name, for error messages.
        segments: on the CPU.
        load: takes a serialised model.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
        ExportError: an operation has no ONNX form, or the backend refuses the model.
        InputError: the model is not on the CPU, or in bfloat16.
    """
    for tensor in segments[0].example:
        _check(backend, tensor)
    return [_loaded(backend, segment, load) for segment in segments]


def array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """A tensor's values, in its own memory where that is in the default layout."""
    return tensor.contiguous().numpy()


def _check(backend: str, tensor: Tensor) -> None:
    if tensor.device.type != "cpu":
        raise InputError(
            f"backend='{backend}' runs on the CPU, the model is on {tensor.device}: move it, or use 'compile'."
        )
    if tensor.dtype == torch.bfloat16:
        raise InputError(
            f"backend='{backend}' cannot run in torch.bfloat16, which its arrays do not have: use dtype=torch.float16, "
            "or backend='compile'."
        )


def _loaded(backend: str, segment: Segment, load: Callable[[bytes], T]) -> T:
    model = to_onnx(segment).SerializeToString()
    try:
        return load(model)
    except Exception as error:  # each runtime raises kinds of its own
        raise ExportError(
            f"backend='{backend}' cannot load the stage that ends at '{segment.name}' ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}). Use another backend; 'eager' runs every model."
        ) from error
