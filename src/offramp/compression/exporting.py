"""A stripped model as an ONNX file."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from offramp.errors import ExportError, MissingExtraError


def export_onnx(model: nn.Module, example: Any, path: str | os.PathLike[str]) -> Path:
    """Writes a model, its weights inside the file, for any batch size.

    Args:
        model: in evaluation mode.
        example: inputs of one batch: a tensor, a tuple, or a dict of named ones.
        path: of the file; replaced in one step.

    Raises:
        MissingExtraError: the packages for ONNX are not installed.
        ExportError: an operation does not convert.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"ONNX needs packages that are not installed ({error}). Run: pip install 'offramp[onnx]'"
        ) from error
    args = () if isinstance(example, dict) else example if isinstance(example, tuple) else (example,)
    kwargs = example if isinstance(example, dict) else {}
    beside = Path(f"{path}.part")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(model, args, kwargs=kwargs, dynamo=True, verbose=False)
        except Exception as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ExportError(f"The compressed model does not convert to ONNX ({said}).") from error
    if program is None:
        raise ExportError("torch gave no ONNX program for the compressed model.")
    program.save(beside, external_data=False)
    beside.replace(path)
    return Path(path)
