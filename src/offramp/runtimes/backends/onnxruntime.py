"""ONNX Runtime: a session per segment. On a CPU it loses least on few rows."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from offramp.lowering import require_onnx
from offramp.runtimes.onnx_segments import array, each_loaded
from offramp.segments import Segment

if TYPE_CHECKING:
    import onnxruntime


def lower(segments: Sequence[Segment]) -> list[Callable[..., list[Tensor]]]:
    """A session for each segment, with as many threads as torch has now.

    Raises:
        MissingExtraError: onnxruntime, onnx or onnxscript is not installed.
        ExportError: an operation has no ONNX form, or ONNX Runtime refuses the model.
        InputError: the model is not on the CPU, or in bfloat16.
    """
    require_onnx("onnxruntime")
    return [session_program(s) for s in each_loaded("onnxruntime", segments, session)]


def session(model: bytes | str) -> onnxruntime.InferenceSession:
    """A session for a serialised model, or for the path of one.

    Each session has threads of its own. They spin while it runs, as waking them for every operation takes long; were
    they to spin on while another session or torch works, both would be slower, several times over.
    """
    ort: Any = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def session_program(session: onnxruntime.InferenceSession) -> Callable[..., list[Tensor]]:
    """Runs a session on tensors; neither inputs nor outputs are copied where they are in the default layout."""
    names = [x.name for x in session.get_inputs()]

    def run(*tensors: Tensor) -> list[Tensor]:
        found = session.run(None, {name: array(t) for name, t in zip(names, tensors, strict=True)})
        return [torch.from_numpy(x) for x in found]

    return run
