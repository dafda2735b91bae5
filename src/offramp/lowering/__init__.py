"""The forms of a segment that compilers and files share: a `torch.export` program, and an ONNX model.

Both take any number of rows. `ExportedSegment` and `OnnxSegment` make segments of files, so that whatever lowers
segments also lowers those whose model class is not at hand: of a segment, a backend may use `example`, `name`, `exit`
and the functions here.
"""

from offramp.lowering.exported import ExportedSegment, export_segment
from offramp.lowering.onnx import OPSET, OnnxSegment, onnx_names, require_onnx, to_onnx

__all__ = ["OPSET", "ExportedSegment", "OnnxSegment", "export_segment", "onnx_names", "require_onnx", "to_onnx"]
