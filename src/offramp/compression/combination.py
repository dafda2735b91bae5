"""Which algorithms go together, and with which loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from offramp.compression.algorithms.algorithm import ALGORITHMS, Algorithm
from offramp.compression.loops.limits import LOOPS, Loop


def conflicts(algorithms: Sequence[Algorithm], loop: Loop | None = None) -> list[str]:
    """What is wrong with algorithms and loop together; empty where they go together."""
    wrong = [message for _, message in pair_conflicts(algorithms)]
    return [*wrong, *(search_conflicts(algorithms, loop) if loop is not None else ())]


def pair_conflicts(algorithms: Sequence[Algorithm]) -> Iterator[tuple[int, str]]:
    """Index of an algorithm that cannot stand beside an earlier one, and why, for every such pair."""
    names = _names(algorithms)
    for late, name in enumerate(names):
        if name in names[:late]:
            yield late, f"'{name}' is there twice; combine its settings in one"
        for early, other in enumerate(names[:late]):
            if other != name and (other in algorithms[late].refuses or name in algorithms[early].refuses):
                yield late, f"'{name}' cannot be combined with '{other}': both change the same weights"


def search_conflicts(algorithms: Sequence[Algorithm], loop: Loop) -> Iterator[str]:
    """Why a loop that moves the rate cannot do so with these algorithms."""
    searched = _names([algorithm for algorithm in algorithms if algorithm.rate_can_be_searched])
    if not loop.searches_rate or len(searched) == 1:
        return
    mode = LOOPS.name_of(type(loop))
    able = ", ".join(repr(name) for name, member in ALGORITHMS.items() if member.rate_can_be_searched) or "none"
    found = " and ".join(map(repr, searched)) or f"none of those given ({', '.join(map(repr, _names(algorithms)))})"
    yield f"'{mode}' moves one compression rate, here of {found}; give exactly one of {able}, or use 'early_exit'"


def _names(algorithms: Sequence[Algorithm]) -> list[str]:
    return [ALGORITHMS.name_of(type(algorithm)) for algorithm in algorithms]
