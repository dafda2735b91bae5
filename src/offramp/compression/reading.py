"""Reads one node of a configuration into a family of settings, and notes everything that is wrong with it."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from offramp.compression.settings import Setting, SettingsError, described, frozen, place, problem, several
from offramp.errors import CompressionError

Family = TypeVar("Family")


class ConfigurationError(CompressionError):
    """A configuration with mistakes: `problems` has the path and the message of each, in order."""

    def __init__(self, problems: Iterable[tuple[str, str]], source: str = "The configuration") -> None:
        self.problems = list(problems)
        count = len(self.problems)
        lines = "\n".join(f"  {path}: {message}" for path, message in self.problems)
        super().__init__(f"{source} has {count} mistake{'s' if count > 1 else ''}:\n{lines}")


@dataclass
class Findings:
    """What is wrong, collected while reading goes on."""

    problems: list[tuple[str, str]] = field(default_factory=list)

    def add(self, path: str, message: str) -> None:
        """Notes a problem; the path is empty for the configuration as a whole."""
        self.problems.append((path or "(top level)", message))

    def raise_if_any(self, source: str) -> None:
        """Raises ConfigurationError where something was found."""
        if self.problems:
            raise ConfigurationError(self.problems, source)


def read_settings(
    family: type[Family], node: Mapping[str, Any], path: str, findings: Findings, known: Iterable[str] = ()
) -> Family | None:
    """An instance of a family of settings.

    Args:
        family: dataclass whose fields are made by `setting`.
        node: of the configuration.
        path: of the node, for messages.
        findings: gets every problem.
        known: keys of the node that are read elsewhere.

    Returns:
        None where there were problems.
    """
    before = len(findings.problems)
    leaves = _leaves(family)
    values: dict[str, Any] = {}
    for where, value in _walk(node, set(leaves), path, findings, set(known)):
        name, about, kind = leaves[where]
        value = _converted(value, kind)
        if name in values:
            findings.add(join(path, where), f"stands for the same as {place(name, about)!r}, which is given too")
        elif (wrong := problem(value, about, kind)) is not None:
            findings.add(join(path, where), wrong)
        values[name] = value
    _find_missing(family, values, path, findings)
    return None if len(findings.problems) > before else _built(family, values, path, findings)


def join(path: str, key: str) -> str:
    """`compression[0]` and `params` -> `compression[0].params`."""
    return f"{path}.{key}" if path and key else path or key


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Message for a key that nobody reads, with the closest that is read, wherever it stands."""
    places = sorted(set(known))
    by_last = {place.rpartition(".")[2]: place for place in reversed(places)}
    near = difflib.get_close_matches(key, by_last, n=1, cutoff=0.5)
    if near and near[0] == key:
        return f"does not belong here; its place is {by_last[key]!r}"
    hint = f"closest: {by_last[near[0]]!r}" if near else "known: " + ", ".join(map(repr, places))
    return f"is unknown; {hint}"


def _leaves(family: type) -> dict[str, tuple[str, Setting, Any]]:
    """Field, description and type at every place where a value of the family may stand."""
    return {
        where: (name, about, kind)
        for name, (about, kind) in described(family).items()
        for where in (place(name, about), *about.also)
    }


def _walk(
    node: Mapping[str, Any], places: set[str], path: str, findings: Findings, known: set[str], inside: str = ""
) -> Iterator[tuple[str, Any]]:
    """Place and value of everything in the node that is known; the rest is noted."""
    for key, value in node.items():
        where = join(inside, key)
        if where in places:
            yield where, value
        elif any(place.startswith(f"{where}.") for place in places):
            if isinstance(value, Mapping):
                yield from _walk(value, places, path, findings, known, where)
            else:
                findings.add(join(path, where), f"must be an object; it is {value!r}")
        elif where not in known:
            findings.add(join(path, where), unknown_key(key, places | known))


def _converted(value: Any, kind: Any) -> Any:
    """A value as the field keeps it: JSON's 100.0 is a whole number, and one scope may stand without a list."""
    if isinstance(value, float) and value.is_integer() and kind is int:
        return int(value)
    return (value,) if several(kind) and isinstance(value, str) else frozen(value)


def _find_missing(family: type, values: Mapping[str, Any], path: str, findings: Findings) -> None:
    for item in dataclasses.fields(family):
        if item.name not in values and item.default is dataclasses.MISSING:
            about = described(family)[item.name][0]
            findings.add(join(path, place(item.name, about)), "is missing and has no default")


def _built(family: type[Family], values: dict[str, Any], path: str, findings: Findings) -> Family | None:
    try:
        return family(**values)
    except SettingsError as error:
        for name, wrong in error.found:
            findings.add(join(path, place(name, described(family)[name][0])), wrong)
    return None
