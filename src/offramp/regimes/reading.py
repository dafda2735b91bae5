"""A regime from plain data, as it stands in a TOML file, a record, or on a command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from offramp.errors import TrainingError, closest
from offramp.regimes.phase import Settings
from offramp.regimes.regime import REGIMES, Regime


def from_dict(data: Any) -> Regime:
    """The inverse of `Regime.to_dict`; what is left out takes its default.

    Args:
        data: a name, or a mapping with "name" and parameters; parameters that are settings or another regime are
            given in the same way.

    Raises:
        TrainingError: unknown names or parameters, or impossible values.

    Example:
        >>> from_dict({"name": "mixed", "first": 2, "joint": {"lr_factor": 0.1}}).first
        2
    """
    given = {"name": data} if isinstance(data, str) else data
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise TrainingError(f"A regime is told by a name or a table with a 'name'; got {data!r}.")
    kind = REGIMES[given["name"]]
    known = [item.name for item in fields(kind)]  # type: ignore[arg-type]
    values = {name: _value(name, value) for name, value in given.items() if name != "name"}
    for name in values:
        if name not in known:
            raise TrainingError(f"The regime '{given['name']}' has no parameter '{name}'. {closest(name, known)}")
    return kind(**values)


def _value(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if not isinstance(value, Mapping):
        return from_dict(value) if name == "base" else value
    return from_dict(value) if "name" in value else _settings(value)


def _settings(data: Mapping[str, Any]) -> Settings:
    known = [item.name for item in fields(Settings)]
    for name in data:
        if name not in known:
            raise TrainingError(f"The settings of a phase have no '{name}'. {closest(name, known)}")
    return Settings(**data)
