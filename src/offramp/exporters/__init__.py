"""Writing a model under a policy for others to run: as a bundle, as `torch.export` files, as ONNX that really skips."""

from offramp.exporters.exporting import export
from offramp.exporters.loading import load_bundle
from offramp.exporters.report import Entry, ExportReport, Parity, Passing, Skipping

__all__ = ["Entry", "ExportReport", "Parity", "Passing", "Skipping", "export", "load_bundle"]
