"""A stripped model as a file that runs without offramp: ONNX, or a `torch.export` program."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from offramp.backbones import arguments
from offramp.errors import ExportError, MissingExtraError

Target = str | os.PathLike[str]


def export_pt2(model: nn.Module, example: Any, path: Target) -> Path:
    """Writes a `torch.export` program for any number of rows, to be read with `torch.export.load`.

    Args:
        model: in evaluation mode.
        example: inputs of one batch: a tensor, a tuple, or a dict of named ones.
        path: of the file, which must end in .pt2; replaced in one step.

    Raises:
        ExportError: the model cannot be captured.
    """
    program = _captured(model, example)
    return _replacing(path, lambda beside: torch.export.save(program, beside))


def export_onnx(model: nn.Module, example: Any, path: Target) -> Path:
    """Writes a model as ONNX for any number of rows, its weights inside the file.

    Args:
        model: in evaluation mode.
        example: as for `export_pt2`.
        path: of the file; replaced in one step.

    Raises:
        MissingExtraError: the packages for ONNX are not installed.
        ExportError: the model cannot be captured, or an operation does not convert.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"ONNX needs packages that are not installed ({error}). Run: pip install 'offramp[onnx]'"
        ) from error
    captured = _captured(model, example)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(captured, dynamo=True, verbose=False)
    except Exception as error:  # the exporter wraps whatever its converters raise
        raise ExportError(f"The compressed model does not convert to ONNX ({_first_line(error)}).") from error
    return _replacing(path, lambda beside: program.save(beside, external_data=False))


FORMATS: dict[str, Callable[[nn.Module, Any, Target], Path]] = {"pt2": export_pt2, "onnx": export_onnx}


def _captured(model: nn.Module, example: Any) -> ExportedProgram:
    args, kwargs = arguments(_two_rows(example))
    rows = {0: Dim("rows", min=1)}
    shapes: Any = dict.fromkeys(kwargs, rows) if kwargs else (rows,) * len(args)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(model, args, kwargs, dynamic_shapes=shapes, strict=False)
    except Exception as error:  # torch raises many kinds, its own and those of the model's code
        raise ExportError(
            f"The compressed model cannot be captured for every number of rows ({_first_line(error)})."
        ) from error


def _two_rows(example: Any) -> Any:
    """At least two rows: torch takes 0 and 1 for constants."""
    if isinstance(example, torch.Tensor):
        return torch.cat([example, example])[: max(2, len(example))]
    if isinstance(example, dict):
        return {name: _two_rows(value) for name, value in example.items()}
    return tuple(_two_rows(value) for value in example)


def _replacing(path: Target, write: Callable[[Path], object]) -> Path:
    final = Path(path)
    # torch insists on the ending of its programs' names.
    beside = final.with_name(f"part-{final.name}")
    write(beside)
    return beside.replace(final)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
