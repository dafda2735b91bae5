"""The file of the one graph that takes the exits itself: written, run under ONNX Runtime, and profiled.

Import this module only where `offramp.lowering.require_onnx` has passed.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch

from offramp.decisions import Decisions
from offramp.errors import ExportError
from offramp.exporters.subject import Subject
from offramp.runtimes.backends.onnxruntime import session
from offramp.runtimes.branching import EXITS, LOGITS, branching_model, set_thresholds
from offramp.runtimes.one_graph import LARGEST
from offramp.segments import Plan

GRAPH = "model.onnx"


def write_graph(subject: Subject, folder: Path, segments: Sequence[str], metadata: Mapping[str, str]) -> GraphFile:
    """Joins the segments' files into `model.onnx`.

    Raises:
        ExportError: the ONNX checker refuses what came of it.
    """
    parts = [onnx.load(folder / name) for name in segments]
    names = [spec.name for spec in subject.inputs]
    path = folder / GRAPH
    whole = branching_model(parts, subject.plan, names, metadata)
    large = sum((folder / name).stat().st_size for name in segments) > LARGEST
    onnx.save(whole, path, save_as_external_data=large, location=f"{GRAPH}.data")
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except onnx.checker.ValidationError as error:
        raise ExportError(f"The ONNX checker refuses the graph ({error}). Use format='pt2' instead.") from error
    return GraphFile(path, subject)


class GraphFile:
    """Runs `model.onnx`.

    Args:
        path: of the file.
        subject: what it was made of.
    """

    def __init__(self, path: Path, subject: Subject) -> None:
        self.path = path
        self.subject = subject

    def under(self, plan: Plan) -> Graph:
        """The graph deciding by the thresholds of a plan."""
        with self._file_under(plan) as path:
            return Graph(session(str(path)), self.subject)

    def executed(self, plan: Plan, inputs: Any) -> tuple[int, ...]:
        """The exits whose segment runs, by a profile of the nodes that are executed."""
        ort: Any = importlib.import_module("onnxruntime")
        with tempfile.TemporaryDirectory() as place, self._file_under(plan) as path:
            options = ort.SessionOptions()
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(place) / "profile")
            # Fused nodes have new names, which no longer tell the segment.
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            profiled = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            Graph(profiled, self.subject)(inputs)
            events = json.loads(Path(profiled.end_profiling()).read_text(encoding="utf8"))
        numbers = {int(found[1]) for e in events if (found := re.match(r"s(\d+)/.*_kernel_time$", e["name"]))}
        return tuple(plan.stops[k] for k in sorted(numbers))

    @contextlib.contextmanager
    def _file_under(self, plan: Plan) -> Iterator[Path]:
        if plan is self.subject.plan:
            yield self.path
            return
        changed = onnx.load(self.path, load_external_data=False)
        set_thresholds(changed, plan)
        beside = self.path.with_name("probe.onnx")  # in the same folder, where the weights may be
        onnx.save(changed, beside)
        try:
            yield beside
        finally:
            beside.unlink()


class Graph:
    """Decides by a session over the whole graph.

    Args:
        session: of ONNX Runtime.
        subject: what it was made of.
    """

    def __init__(self, session: Any, subject: Subject) -> None:
        self.session = session
        self.subject = subject

    def __call__(self, inputs: Any) -> Decisions:
        """See `offramp.runtimes.Runtime`; costs are left out."""
        tensors = self.subject.entrance.tensors(inputs)
        names = [spec.name for spec in self.subject.inputs]
        feed = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
        logits, exits = self.session.run([LOGITS, EXITS], feed)
        return Decisions(torch.from_numpy(logits), torch.from_numpy(exits), self.subject.plan.exits)
