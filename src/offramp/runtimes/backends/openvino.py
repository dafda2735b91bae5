"""OpenVINO: a compiled model per segment, made from its ONNX form."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from offramp.errors import MissingExtraError
from offramp.runtimes.onnx_segments import array, each_loaded
from offramp.segments import Segment


def lower(segments: Sequence[Segment]) -> list[Callable[..., list[Tensor]]]:
    """A compiled model for each segment, with as many threads as torch has now.

    Raises:
        MissingExtraError: openvino, onnx or onnxscript is not installed.
        ExportError: an operation has no ONNX form, or OpenVINO refuses the model.
        InputError: the model is not on the CPU, or in bfloat16.
    """
    try:
        openvino: Any = importlib.import_module("openvino")
    except ImportError as error:
        raise MissingExtraError(
            f"backend='openvino' needs the package openvino ({error}). Install it with: pip install 'offramp[openvino]'"
        ) from error
    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        # By itself OpenVINO may compute in half precision where the processor can.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    return each_loaded(
        "openvino", segments, lambda model: _program(core.compile_model(core.read_model(model), "CPU", settings))
    )


def _program(compiled: Any) -> Callable[..., list[Tensor]]:
    """A request per thread: requests keep their outputs, and serve one call at a time."""
    own = threading.local()

    def run(*tensors: Tensor) -> list[Tensor]:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        found = own.request.infer([array(t) for t in tensors], share_inputs=True)
        return [torch.from_numpy(found[i].copy()) for i in range(len(found))]

    return run
