"""A regime from plain data, as it stands in a TOML file, a record, or on a command line."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from offramp.errors import TrainingError, closest
from offramp.regimes.phase import Settings
from offramp.regimes.regime import REGIMES, Regime, Wrapping


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
    known = _parameters(kind)
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


def from_words(names: Sequence[str], options: Sequence[str] = ()) -> Regime:
    """A regime as it is asked for on a command line.

    Args:
        names: of regimes, the outermost first; all but the last wrap the one after them.
        options: "parameter=value" or, for the settings of a phase, "parameter.setting=value"; a parameter that several
            have goes to the outermost. Values are numbers, lists of numbers separated by commas, or words.

    Raises:
        TrainingError: unknown names, parameters or settings, impossible values, or a regime that wraps none.

    Example:
        >>> from_words(["mixed"], ["first=2", "joint.lr_factor=0.1"]).to_dict()["joint"]
        {'lr_factor': 0.1}
    """
    if not names:
        raise TrainingError(f"No regime is named. There are: {', '.join(REGIMES)}.")
    tables: list[dict[str, Any]] = [{"name": name} for name in names]
    for option in options:
        _assign(tables, option)
    for outer, inner in itertools.pairwise(tables):
        if not issubclass(REGIMES[outer["name"]], Wrapping):
            wrapping = ", ".join(name for name, kind in REGIMES.items() if issubclass(kind, Wrapping))
            raise TrainingError(
                f"The regime '{outer['name']}' wraps no other one. Those that do: {wrapping or 'none'}."
            )
        outer["base"] = inner
    return from_dict(tables[0])


def _assign(tables: list[dict[str, Any]], option: str) -> None:
    path, sign, text = option.partition("=")
    name, dot, setting = path.partition(".")
    if not sign or not name:
        raise TrainingError(f"The regime's option {option!r} is no 'parameter=value'.")
    for table in tables:
        if name in _parameters(REGIMES[table["name"]]):
            if dot:
                table.setdefault(name, {})[setting] = _parsed(text)
            else:
                table[name] = _parsed(text)
            return
    known = [parameter for table in tables for parameter in _parameters(REGIMES[table["name"]])]
    raise TrainingError(f"The regime has no parameter '{name}' (option {option!r}). {closest(name, known)}")


def _parameters(kind: type[Regime]) -> list[str]:
    return [item.name for item in fields(kind)]  # type: ignore[arg-type]


def _parsed(text: str) -> Any:
    if "," in text:
        return tuple(_parsed(part) for part in text.split(",") if part)
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)
