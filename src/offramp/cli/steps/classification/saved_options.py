"""The options of a run as plain data, and how those of a command line go together with those of the run it resumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from offramp.cli.classify_options import ClassifyOptions
from offramp.cli.failures import UsageError
from offramp.errors import FileFormatError

DECIDING = {
    "network": ("arch", "exits"),
    "exits": ("thresholds", "loss_weights", "criterion", "calibrate"),
    "training": ("epochs", "batch_size", "lr", "momentum", "weight_decay", "deterministic"),
    "images": ("validation_split", "train_size", "validation_size", "test_size"),
    "distillation": (
        "teacher",
        "pretrained",
        "resume",
        "temperature",
        "distill_weight",
        "student_weight",
        "teacher_weight",
        "start_epoch",
    ),
    "compression": ("compress",),
    "common": ("seed",),
}
"""Options that decide what a run ends with, by group; the others may change when it is resumed."""

START_OVER = ("epochs", "batch_size", "lr", "momentum", "weight_decay", "deterministic", "compress")
"""Those that belong to the new run, where only the weights of the earlier one are taken."""
PATHS = ("resume", "compress")


def to_dict(options: ClassifyOptions) -> dict[str, dict[str, Any]]:
    """The deciding options, for `run.json`."""
    every = asdict(options)
    return {group: {name: _plain(every[group][name]) for name in names} for group, names in DECIDING.items()}


def joined(options: ClassifyOptions, saved: Mapping[str, Any], strict: bool) -> ClassifyOptions:
    """The options of a command line, completed by those of the run that it goes on with.

    Args:
        options: as given; one that has its default counts as left out.
        saved: as `to_dict` gave them.
        strict: whether a deciding option that is given must be as it was.

    Raises:
        UsageError: `strict`, and some are not.
        FileFormatError: `saved` has other fields.
    """
    default, now = to_dict(ClassifyOptions()), to_dict(options)
    if {group: set(values) for group, values in saved.items()} != {g: set(v) for g, v in now.items()}:
        raise FileFormatError("run.json was written by another version of offramp; begin a new run.")
    differing = [
        f"{group} {name} is {saved[group][name]!r} there and {value!r} now"
        for group, values in now.items()
        for name, value in values.items()
        if value not in (default[group][name], saved[group][name])
    ]
    if strict and differing:
        raise UsageError(
            f"--resume-from: it is another run: {'; '.join(differing)}. Leave these flags out, or take the weights "
            "alone, with --reset-optimizer."
        )
    for group, values in saved.items():
        missing = {
            name: _typed(value, name)
            for name, value in values.items()
            if now[group][name] == default[group][name] and (strict or name not in START_OVER)
        }
        options = replace(options, **{group: replace(getattr(options, group), **missing)})
    return options


def given(options: ClassifyOptions) -> dict[str, dict[str, Any]]:
    """All options that differ from their defaults, by group, for the record."""
    found: dict[str, dict[str, Any]] = {}
    for field in fields(options):
        group, default = getattr(options, field.name), getattr(ClassifyOptions(), field.name)
        changed = {name: _plain(v) for name, v in asdict(group).items() if v != getattr(default, name)}
        found |= {field.name: changed} if changed else {}
    return found


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _typed(value: Any, name: str) -> Any:
    return Path(value) if name in PATHS and value is not None else value
