"""Which kinds of models export to ONNX with equal decisions: a table of every kind that `model_kinds` knows.

    python benchmarks/export_matrix.py [NAME ...]

Each network gets exits under a policy by which about half of the rows leave at every one, and is exported. The export
compares the graph and the segments with the runtime on random and given inputs and on those at the thresholds; OpenVINO
then runs the graph too. All kinds go into benchmarks/results/export_matrix.json; some, by name, are printed only.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import offramp as ofr
from model_kinds import KINDS, Kind
from offramp.errors import OfframpError
from offramp.exporters import ExportReport, export
from offramp.exporters.subject import Subject
from provenance import write

ROWS = 33


def policy_for(model: ofr.ExitModel, inputs: Any) -> ofr.Policy:
    """Thresholds in the middle of the widest gap among the middle half of the scores at each exit."""
    margin = ofr.criteria.Margin()
    with torch.no_grad():
        ordered = [margin.score(logits).sort().values for logits in model(inputs)[:-1]]
    thresholds = []
    for scores in ordered:
        quarter = len(scores) // 4
        widest = quarter + int(scores.diff()[quarter:-quarter].argmax())
        thresholds.append(float(scores[widest : widest + 2].mean()))
    return ofr.Policy(margin, thresholds)


def attached(kind: Kind) -> ofr.ExitModel:
    """With heads that are surer than fresh ones, so that scores differ from row to row."""
    model = ofr.attach(kind.make(), at=list(kind.cuts), example=kind.batch(2)).eval()
    with torch.no_grad():
        for parameter in model.heads.parameters():
            parameter.mul_(8)
    return model


def exported(kind: Kind) -> dict[str, Any]:
    """One line of the table."""
    start = time.perf_counter()
    model = attached(kind)
    inputs = kind.batch(ROWS, seed=3)
    policy = policy_for(model, inputs)
    line: dict[str, Any] = {"kind": kind.name, "engine": model.chain().engine, "exits": model.exits}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "export"
        try:
            report = export(model, policy, folder, "onnx", inputs=inputs)
        except OfframpError as error:
            return line | {"onnx": False, "error": f"{type(error).__name__}: {error}"}
        line |= {"onnx": True, **summary(report), "openvino": under_openvino(folder, model, policy, inputs)}
    return line | {"seconds": round(time.perf_counter() - start, 1)}


def summary(report: ExportReport) -> dict[str, Any]:
    """The figures of a report."""
    graph = [entry for entry in report.parity if entry.artefact == "graph"]
    skipping = next(entry for entry in report.skipping if entry.artefact == "graph")
    return {
        "rows": sum(entry.rows for entry in graph),
        "equal": sum(entry.equal for entry in graph),
        "near": sum(entry.near for entry in graph),
        "largest_difference": max(entry.largest_difference for entry in graph),
        "skips": skipping.shown,
        "executed": [list(passing.executed) for passing in (skipping.first, skipping.last) if passing],
        "ratio": skipping.ratio,
        "bytes": report.bytes,
    }


def under_openvino(folder: Path, model: ofr.ExitModel, policy: ofr.Policy, inputs: Any) -> Any:
    """Rows that take the same exit under OpenVINO, or its error."""
    import openvino

    subject = Subject.of(model, policy, None)
    feed = dict(zip([x.name for x in subject.inputs], subject.entrance.tensors(inputs), strict=True))
    try:
        compiled = openvino.Core().compile_model(str(folder / "model.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = compiled({name: tensor.numpy() for name, tensor in feed.items()})["exits"]
    except RuntimeError as error:
        return " ".join(str(error).split())[:300]
    return int((torch.from_numpy(found) == subject.eager()(inputs).exits).sum())


def main() -> None:
    """Prints the table; writes it where all kinds were asked for."""
    torch.set_num_threads(1)
    wanted = sys.argv[1:]
    lines = []
    for kind in KINDS:
        if wanted and not any(name.lower() in kind.name.lower() for name in wanted):
            continue
        lines.append(exported(kind))
        print(lines[-1], flush=True)
    print(f"{sum(line['onnx'] for line in lines)} of {len(lines)} kinds export to ONNX with equal decisions")
    if not wanted:
        print(write("export_matrix", {"rows_given": ROWS, "kinds": lines}))


if __name__ == "__main__":
    main()
