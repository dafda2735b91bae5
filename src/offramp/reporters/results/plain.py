"""Frozen dataclasses from plain data: the inverse of `dataclasses.asdict`, for values that went through JSON."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from offramp.errors import FileFormatError

T = TypeVar("T")


def build(kind: type[T], data: Any, where: str = "results") -> T:
    """An instance of the dataclass `kind`; lists become tuples, nested objects nested dataclasses.

    Args:
        kind: a dataclass whose fields are plain values, dataclasses, tuples of these, mappings, or optional.
        data: what `asdict` and JSON made of one.
        where: path of `data` in its file, for error messages.

    Raises:
        FileFormatError: `data` is no object, or a field is missing or unknown.

    Example:
        >>> from offramp.reporters.results.source import Source
        >>> build(Source, {"split": "test", "samples": 10, "seed": 0, "device": "cpu"}).split
        'test'
    """
    if not isinstance(data, Mapping):
        raise FileFormatError(f"{where} must be an object with the fields of {kind.__name__}, it is {data!r:.60}.")
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    wrong = sorted(set(names) ^ set(data))
    if wrong:
        raise FileFormatError(f"{where} has missing or unknown fields: {', '.join(wrong)}. Evaluate again.")
    hints = typing.get_type_hints(kind)
    return kind(**{name: _value(hints[name], data[name], f"{where}.{name}") for name in names})


def _value(hint: Any, data: Any, where: str) -> Any:
    members = [m for m in typing.get_args(hint) if m is not types.NoneType]
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        # Unions are either of plain values or "something or None"; only the latter has something to build.
        return data if data is None or len(members) > 1 else _value(members[0], data, where)
    if typing.get_origin(hint) is tuple:
        if not isinstance(data, list | tuple):
            raise FileFormatError(f"{where} must be a list, it is {data!r:.60}.")
        return tuple(_value(members[0], item, f"{where}[{i}]") for i, item in enumerate(data))
    if isinstance(hint, type) and is_dataclass(hint):
        return build(hint, data, where)
    return data
