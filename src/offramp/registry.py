"""A registry maps the short name of a family's member to its class; names are derived, duplicates are errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from offramp.errors import OfframpError, closest

T = TypeVar("T", bound=Callable[..., object])


def snake_case(name: str) -> str:
    """`MaxProbability` -> `max_probability`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Registry(Mapping[str, T], Generic[T]):
    """Members of one family by name, in order of registration.

    Args:
        family: What a member is called in error messages, e.g. "criterion".
        error: Error class raised for an unknown name.
    """

    def __init__(self, family: str, error: type[OfframpError] = OfframpError) -> None:
        self.family = family
        self.error = error
        self._members: dict[str, T] = {}

    def register(self, member: T) -> T:
        """Class decorator: files `member` under its name in snake case."""
        name = snake_case(member.__name__)
        if name in self._members:
            raise self.error(f"The {self.family} '{name}' is registered twice; rename one of the two classes.")
        self._members[name] = member
        return member

    def __getitem__(self, name: str) -> T:
        if name not in self._members:
            raise self.error(f"There is no {self.family} '{name}'. {closest(name, self._members)}")
        return self._members[name]

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def name_of(self, member: object) -> str:
        """Name under which the class `member` is registered."""
        for name, known in self._members.items():
            if known is member:
                return name
        raise self.error(f"{member!r} is not a registered {self.family}; decorate its class with register().")
