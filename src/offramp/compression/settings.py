"""Settings of algorithms and loops: where each stands in a configuration, what it may be, and what is wrong with it.

A family of settings is a frozen dataclass whose fields are made by `setting`. The same description reads a
configuration file (`offramp.compression.configuration`) and checks what is built in Python (`problems`).
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from offramp.errors import CompressionError

METADATA = "offramp.setting"


class SettingsError(CompressionError):
    """Settings that are impossible; `found` has the name of each field and what is wrong with it."""

    def __init__(self, family: type, found: Sequence[tuple[str, str]]) -> None:
        self.found = list(found)
        super().__init__(f"{family.__name__}: " + "; ".join(f"{name} {wrong}" for name, wrong in found) + ".")


@dataclass(frozen=True)
class Setting:
    """What is known of one field.

    Attributes:
        at: where it stands in a configuration node, keys joined by dots, e.g. "params.pruning_target"; empty for the
            field's name inside "params".
        also: other places where it is understood.
        least: smallest allowed value; of each element where the field holds several.
        most: largest allowed value, likewise.
        above: the value must be greater than this.
        below: the value must be less than this.
        choices: allowed values; empty allows all.
    """

    at: str = ""
    also: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[object, ...] = ()

    def allowed(self, kind: Any) -> str:
        """What the field may be, in words: "a number from 0 to 1"."""
        if self.choices:
            return "one of " + ", ".join(map(repr, self.choices))
        limits = {"of at least": self.least, "above": self.above, "of at most": self.most, "below": self.below}
        bounds = " and ".join(f"{words} {limit:g}" for words, limit in limits.items() if limit is not None)
        return f"{_words(kind)} {bounds}".strip()

    def accepts(self, value: Any) -> bool:
        """Whether one value lies within bounds and choices; its kind is known to be right."""
        if self.choices:
            return value in self.choices
        if isinstance(value, str | bool) or value is None:
            return True
        return (
            math.isfinite(value)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


def setting(
    default: Any = dataclasses.MISSING,
    *,
    at: str = "",
    also: Sequence[str] = (),
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Sequence[object] = (),
) -> Any:
    """A dataclass field with its description, see `Setting`; without a default it must be given."""
    about = Setting(at, tuple(also), least, most, above, below, tuple(choices))
    return dataclasses.field(default=default, metadata={METADATA: about})


def rate(default: Any = dataclasses.MISSING, *, at: str = "", also: Sequence[str] = ()) -> Any:
    """A share of the model that is taken away: a number from 0 to below 1."""
    return setting(default, at=at, also=also, least=0, below=1)


def described(family: type) -> dict[str, tuple[Setting, Any]]:
    """Description and type of every field of a family that was made by `setting`, by name."""
    return dict(_described(family))


@cache
def _described(family: type) -> tuple[tuple[str, tuple[Setting, Any]], ...]:
    hints = typing.get_type_hints(family)
    fields = dataclasses.fields(family)
    return tuple((f.name, (f.metadata[METADATA], hints[f.name])) for f in fields if METADATA in f.metadata)


def place(name: str, about: Setting) -> str:
    """Where a field stands in a configuration node, keys joined by dots."""
    return about.at or f"params.{name}"


def problems(instance: Any) -> Iterator[tuple[str, str]]:
    """Name of every field whose value is not allowed, and what is wrong with it."""
    for name, (about, kind) in described(type(instance)).items():
        value = getattr(instance, name)
        if (wrong := problem(value, about, kind)) is not None:
            yield name, wrong


def problem(value: Any, about: Setting, kind: Any) -> str | None:
    """What is wrong with a value of a field of this type, or None."""
    optional, inner = _without_none(kind)
    if value is None and optional:
        return None
    many = several(kind)
    element = typing.get_args(inner)[0] if many else inner
    values = list(value) if many and isinstance(value, list | tuple) else [value]
    right = isinstance(value, list | tuple) if many else not isinstance(value, list | tuple | dict)
    if right and all((about.choices or is_kind(v, element)) and about.accepts(v) for v in values):
        return None
    return f"must be {about.allowed(inner)}; it is {value!r}"


def is_kind(value: object, kind: Any) -> bool:
    """Whether a value is of a plain type; a bool is no number, and a whole float is no int (1.5 epochs, 2.0 epochs)."""
    if kind is bool or kind is str:
        return isinstance(value, kind)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, int | float) and not isinstance(value, bool)


def frozen(value: Any) -> Any:
    """A value as a frozen dataclass keeps it: lists become tuples."""
    return tuple(frozen(v) for v in value) if isinstance(value, list | tuple) else value


def several(kind: Any) -> bool:
    """Whether a field holds several values."""
    return typing.get_origin(_without_none(kind)[1]) is tuple


def _without_none(kind: Any) -> tuple[bool, Any]:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        rest = [k for k in typing.get_args(kind) if k is not type(None)]
        return True, rest[0]
    return False, kind


_WORDS = {bool: "true or false", str: "a text", int: "a whole number", float: "a number"}


def _words(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return f"a list, each element {_words(typing.get_args(kind)[0])}"
    return _WORDS.get(kind, "a number")
