"""ONNX: `model.onnx` takes the exits itself, and there is a file per segment for those who compact the batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

import offramp
from offramp.errors import ExportError
from offramp.exporters.artefact import Artefact, staged_artefact
from offramp.exporters.formats import Options
from offramp.exporters.manifest import Manifest
from offramp.exporters.programs import make_programs, read_segments, write_segments
from offramp.exporters.subject import Subject
from offramp.lowering import OPSET, require_onnx
from offramp.runtimes import StagedRuntime


def write(subject: Subject, folder: Path, options: Options) -> tuple[Manifest, list[Artefact]]:
    """Writes the files, and makes sessions of them.

    Raises:
        ExportError: a segment has no ONNX form or is asked for in another, or the model is not in fp32 on the CPU.
        MissingExtraError: the packages for ONNX are not installed.
    """
    if options.segments not in (None, "onnx"):
        raise ExportError(
            f"export(format='onnx', segments={options.segments!r}): its files are ONNX. Leave segments out."
        )
    require_onnx("onnxruntime")
    from offramp.exporters.graph_file import write_graph  # imports onnx, which is there only now

    _check(subject)
    files = write_segments(subject, folder, "onnx")
    graph = write_graph(subject, folder, files, metadata(subject))
    manifest = Manifest.of(subject, folder, "onnx", "onnx", files)
    programs = make_programs(read_segments(folder, manifest, subject.entrance.device), "onnxruntime")
    runtime = StagedRuntime(subject.plan, programs, subject.names, subject.entrance, "onnxruntime")
    return manifest, [Artefact("graph", graph.under, graph.executed), staged_artefact(runtime)]


def metadata(subject: Subject) -> dict[str, str]:
    """What `metadata_props` of the graph say, all as JSON but the version."""
    plan = subject.plan
    facts: dict[str, Any] = {
        "plan": plan.to_dict(),
        "policy": plan.policy.to_dict(),
        "criterion": plan.policy.criterion.to_dict(),
        "thresholds": plan.to_dict()["thresholds"],
        "stops": list(plan.stops),
        "exits": plan.exits,
        "macs": plan.costs.tolist(),
        "plain_macs": subject.model.cost.plain,
        "classes": subject.model.num_classes,
        "class_names": subject.class_names,
        "opset": OPSET,
    }
    return {"offramp.version": offramp.__version__} | {f"offramp.{k}": json.dumps(v) for k, v in facts.items()}


def _check(subject: Subject) -> None:
    dtypes = {p.dtype for p in subject.model.parameters() if p.is_floating_point()}
    if subject.entrance.device.type != "cpu" or torch.bfloat16 in dtypes:
        raise ExportError(
            f"export(format='onnx') needs the model on the CPU and not in bfloat16, which ONNX Runtime does not "
            f"compute there; it is on {subject.entrance.device} in {', '.join(sorted(map(str, dtypes)))}. Call "
            "model.cpu().float() first."
        )
