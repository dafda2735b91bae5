"""Puts a bundle to work. Neither the model's class nor its weights in any other form are needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch

from offramp.errors import FileFormatError, InputError
from offramp.exporters.example import load_example
from offramp.exporters.manifest import Manifest
from offramp.exporters.programs import chosen_backend, make_programs, read_segments
from offramp.runtimes import Runtime, StagedRuntime, Tuning
from offramp.runtimes.autotuning import tuned
from offramp.runtimes.one_graph import IN_ONE_GRAPH, in_one_graph
from offramp.runtimes.onnx_segments import in_onnx
from offramp.segments import Segment


def load_bundle(folder: str | Path, backend: str | None = None, device: str | torch.device | None = None) -> Runtime:
    """Makes a runtime of a bundle.

    Checksums protect against damage, not against malice: load bundles from people whom you trust.

    Args:
        folder: that was given to `export(..., format="bundle")`.
        backend: "export" runs `.pt2` files as they are, the backends of `deploy` compile them, and "auto" takes for
            every segment the fastest: by the times in the bundle if they were measured on such a machine, otherwise
            they are measured now. Files in ONNX form need "onnxruntime" or "openvino". None: what runs the files as
            they are.
        device: to run on; None for the kind of device that the bundle was exported on.

    Raises:
        FileFormatError: files are missing, changed or newer, or it is no bundle.
        PolicyError: there is no such backend.
        MissingExtraError: the backend's packages are not installed.
        InputError: there is no such device.
    """
    path = Path(folder)
    manifest = Manifest.load(path)
    if manifest.example is None:
        raise FileFormatError(
            f"{path} is an export in the format '{manifest.kind}', which is there to be run without offramp. Export "
            "with format='bundle' to load it here."
        )
    wanted = chosen_backend(manifest.form, backend)
    place = _device(manifest.device if device is None else device)
    segments = read_segments(path, manifest, place)
    entrance = load_example(path, manifest.example, place)
    if wanted == "auto":
        known = None if manifest.tuning is None else Tuning.from_dict(manifest.tuning)
        programs, tuning = tuned(segments, False, None, known)
        return StagedRuntime(manifest.plan, programs, manifest.names, entrance, wanted, tuning)
    if wanted in IN_ONE_GRAPH:
        parts = in_onnx(wanted, segments)
        programs = make_programs(cast("Sequence[Segment]", parts), wanted)
        staged = StagedRuntime(manifest.plan, programs, manifest.names, entrance, wanted)
        return in_one_graph(staged, parts)
    return StagedRuntime(manifest.plan, make_programs(segments, wanted), manifest.names, entrance, wanted)


def _device(wanted: str | torch.device) -> torch.device:
    try:
        # An empty tensor knows the number of its device, as inputs there will.
        return torch.empty(0, device=wanted).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"load_bundle: the device {wanted} is not here. Pass device='cpu', or another one.") from error
