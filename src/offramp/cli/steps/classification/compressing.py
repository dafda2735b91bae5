"""Compresses the trained network, exits included, until its accuracy no longer allows it: `--compress FILE`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

import offramp as ofr
from offramp.cli.steps.classification.setting import Setting
from offramp.compression.configuration import Configuration
from offramp.compression.deployed import DeployedAccuracy, with_exits
from offramp.compression.sizes import Size
from offramp.compression.trainer import Trainer
from offramp.errors import CompressionError


def configuration(config: Path) -> Configuration:
    """Reads what is asked for.

    Raises:
        ConfigurationError: it has mistakes; all are named.
        CompressionError: it cannot be read, or asks for no loop.
    """
    found = Configuration.load(config)
    if found.loop is None:
        raise CompressionError(f"--compress {config}: it asks for no loop; add accuracy_aware_training.")
    return found


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
