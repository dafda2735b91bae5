"""The options that every command has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Options of every command."""

    # A leading hyphen must be allowed for the value "-".
    json: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    """Write the machine-readable result to this file; "-" prints it, and everything else goes to standard error."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ...; auto takes the accelerator if there is one."""
    seed: int | None = None
    """Seed of splits, weights and training for a new run (default 0); for an existing run, its own."""
    debug: Annotated[bool, Parameter(negative=(), show_default=False)] = False
    """Show the traceback of an error."""
