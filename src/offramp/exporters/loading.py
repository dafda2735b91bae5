"""Puts a bundle to work. Neither the model's class nor its weights in any other form are needed."""

from __future__ import annotations

from pathlib import Path

import torch

from offramp.errors import FileFormatError, InputError
from offramp.exporters.example import load_example
from offramp.exporters.manifest import Manifest
from offramp.exporters.programs import NATURAL, read_segments
from offramp.runtimes import Runtime, StagedRuntime


def load_bundle(folder: str | Path, backend: str | None = None, device: str | torch.device | None = None) -> Runtime:
    """Makes a runtime of a bundle.

    Checksums protect against damage, not against malice: load bundles from people whom you trust.

    Args:
        folder: that was given to `export(..., format="bundle")`.
        backend: "export" runs `.pt2` files as they are, the backends of `deploy` compile them; files in ONNX form need
            "onnxruntime" or "openvino". None: what runs the files as they are.
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
    place = _device(manifest.device if device is None else device)
    programs = read_segments(path, manifest, backend, place)
    entrance = load_example(path, manifest.example, place)
    return StagedRuntime(manifest.plan, programs, manifest.names, entrance, backend or NATURAL[manifest.form])


def _device(wanted: str | torch.device) -> torch.device:
    try:
        # An empty tensor knows the number of its device, as inputs there will.
        return torch.empty(0, device=wanted).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"load_bundle: the device {wanted} is not here. Pass device='cpu', or another one.") from error
