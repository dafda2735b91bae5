"""A command's surroundings: where it writes, on which device it computes, from which seed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.panel import Panel

from offramp.cli.failures import UsageError
from offramp.cli.options import Common
from offramp.errors import OfframpError

if TYPE_CHECKING:
    import torch

STANDARD_OUTPUT = "-"


class Session:
    """Made first thing by every command, so that impossible options fail before any work is done.

    Args:
        common: the options that every command has.

    Raises:
        UsageError: the device or the seed does not exist.
        OfframpError: the device is not there, or the JSON file cannot be written.
    """

    def __init__(self, common: Common) -> None:
        self.common = common
        self.console = Console(stderr=common.json == STANDARD_OUTPUT)
        if common.seed is not None and common.seed < 0:
            raise UsageError(f"--seed {common.seed}: give a whole number of at least 0.")
        _check_target(common.json)
        self.device = _device(common.device)

    def say(self, text: str) -> None:
        """Prints one line of progress; rich markup is understood."""
        self.console.print(text, highlight=False, soft_wrap=True)

    def announce(self, notice: str) -> None:
        """Prints what must not be overlooked."""
        if notice:
            self.console.print(Panel(notice, style="bold yellow", title="Notice"), markup=False)

    def seed(self, default: int = 0) -> int:
        """The seed asked for, or `default`."""
        return default if self.common.seed is None else self.common.seed

    def deliver(self, result: Mapping[str, Any]) -> None:
        """Writes the machine-readable result where it was asked for.

        Raises:
            OfframpError: the file cannot be written.
        """
        if self.common.json is None:
            return
        text = json.dumps(result, indent=2, allow_nan=False) + "\n"
        if self.common.json == STANDARD_OUTPUT:
            sys.stdout.write(text)
            return
        try:
            Path(self.common.json).write_text(text, encoding="utf8")
        except OSError as error:
            raise OfframpError(f"--json {self.common.json} cannot be written ({error}).") from error


def _check_target(target: str | None) -> None:
    """Minutes of work must not end in a file that cannot be written."""
    if target is None or target == STANDARD_OUTPUT:
        return
    if target.startswith("-"):
        raise UsageError(f'--json needs a file, or "-" for standard output; got {target!r}.')
    path = Path(target)
    place = path if path.exists() else path.parent
    if path.is_dir() or not place.exists() or not os.access(place, os.W_OK):
        raise OfframpError(f"--json {target} cannot be written. Choose a file in a folder that exists and is yours.")


def _device(name: str) -> torch.device:
    import torch

    there = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        return there or torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device {name}: give auto, cpu, cuda, or another device that torch knows.") from error
    if device.type == "cpu":
        return device
    if there is None or there.type != device.type or (device.index or 0) >= torch.accelerator.device_count():
        raise OfframpError(f"--device {name}: there is no such device here. Use auto or cpu.")
    return device
