"""Writes the network so that others can run it, with exits that are really taken: `--export-onnx`, `--compress`."""

from __future__ import annotations

import copy
from typing import Any

import torch

import offramp as ofr
from offramp.cli.steps.classification.setting import Setting
from offramp.recording import unpack


def export(setting: Setting, model: ofr.ExitModel, name: str, format: str) -> dict[str, Any]:
    """A folder of this name in the run's: a "bundle" for `offramp.load_bundle`, or "onnx", one graph and segments.

    Raises:
        MissingExtraError: the packages for ONNX are not installed.
        ExportError: the network does not convert, or what was written decides otherwise.
    """
    folder = setting.folder.path / name
    inputs, _ = unpack(next(iter(setting.images.test)))
    plain = copy.deepcopy(model).cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    report = ofr.export(
        plain,
        setting.policy,
        folder,
        format=format,
        inputs=inputs[:64],
        class_names=setting.images.classes,
        overwrite=True,
    )
    setting.journal.say(
        f"{format}: {folder} ({', '.join(file.name for file in report.files)}), checked against the network."
    )
    return report.to_dict()
