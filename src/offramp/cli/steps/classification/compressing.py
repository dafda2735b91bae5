"""Compresses the trained network, exits included, until its accuracy no longer allows it: `--compress FILE`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from torch import nn

import offramp as ofr
from offramp.cli.failures import UsageError
from offramp.cli.steps.classification.setting import Setting
from offramp.compression.configuration import Configuration
from offramp.compression.deployed import DeployedAccuracy, with_exits
from offramp.compression.sizes import Size
from offramp.compression.trainer import Trainer
from offramp.errors import CompressionError

SCHEDULE = re.compile(r"^(pruners|regularizers|quantizers|lr_schedulers|policies)\s*:", re.MULTILINE)
"""A part of a schedule as Distiller writes it."""
INSTEAD = {
    "pruners": "filter_pruning or magnitude_sparsity",
    "regularizers": "rb_sparsity or movement_sparsity",
    "quantizers": "quantization",
    "lr_schedulers": "--lr, which is constant",
    "policies": "accuracy_aware_training, which finds out when and how much",
}
"""What there is here for a part of a schedule."""


def configuration(config: Path) -> Configuration:
    """Reads what is asked for.

    Raises:
        UsageError: it is one of Distiller's schedules.
        ConfigurationError: it has mistakes; all are named.
        CompressionError: it cannot be read, or asks for no loop.
    """
    _refuse_schedule(config)
    found = Configuration.load(config)
    if found.loop is None:
        raise CompressionError(f"--compress {config}: it asks for no loop; add accuracy_aware_training.")
    return found


def _refuse_schedule(config: Path) -> None:
    """Distiller's flag of the same name takes a YAML file that means something else."""
    try:
        parts = SCHEDULE.findall(config.read_text(encoding="utf8"))
    except (OSError, UnicodeDecodeError):
        return
    if parts:
        instead = "; ".join(f"instead of {part}, {INSTEAD[part]}" for part in dict.fromkeys(parts))
        raise UsageError(
            f"--compress {config} is a schedule of Distiller in YAML, which is not read. Write a configuration in JSON "
            f'({instead}), such as {{"compression": [{{"algorithm": "filter_pruning"}}], "accuracy_aware_training": '
            '{"mode": "adaptive_compression_level", "params": {"maximal_relative_accuracy_degradation": 1.0}}}.'
        )


def compress(setting: Setting, config: Path, resume: bool) -> tuple[ofr.ExitModel, dict[str, Any]]:
    """The small network, and what came of the loop as plain data.

    The loop watches the validation accuracy of the network **with its exits taken**.

    Raises:
        ConfigurationError: the configuration has mistakes; all are named.
        CompressionError: it asks for no loop, or does not fit the network.
    """
    validation = setting.images.validation or ()
    asked, model = setting.options.training, setting.model

    trainer = Trainer(setting.images.train, validation, asked.lr, asked.momentum, asked.weight_decay, setting.seed)
    setting.journal.say(f"--- compress by {config} ---")
    outcome = ofr.compress(
        model,
        configuration(config),
        **{**trainer.functions, "validate": DeployedAccuracy(validation, setting.policy)},
        example=model.to_own_device(setting.images.example),
        out=setting.folder.path / "compression",
        resume=resume,
    )
    small = outcome.strip()
    result = json.loads(json.dumps({**outcome.to_dict(), "size": _sizes(setting, model, small)}, default=dict))
    setting.journal.say(*outcome.statistics.to_str().splitlines(), *outcome.notices)
    return with_exits(small).eval(), result


def _sizes(setting: Setting, before: nn.Module, after: nn.Module) -> dict[str, Any]:
    return {
        name: dict(Size.of(m, setting.images.example).__dict__) for name, m in (("before", before), ("after", after))
    }
