"""Where to cut: what a user asks for in `at`, names, shares of the MACs or "auto", as names of modules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import nn

from offramp.backbones.places import Place, inspect
from offramp.errors import AttachError, closest

AUTO = re.compile(r"auto(?::([1-9]\d*))?")
AUTO_COUNT = 2
"""Early exits that "auto" asks for."""
WINDOW = 0.08
"""How far from the wanted share of the MACs "auto" looks for a cut that carries less."""


def names_at(backbone: nn.Module, at: Sequence[str | float] | str, example: Any) -> list[str]:
    """Turns what a user asks for in `at` into names of modules, canonical where a module has several.

    Raises:
        AttachError: unknown or repeated names, a share that is not between 0 and 1.
    """
    if isinstance(at, str):
        return proposed(spread(inspect(backbone, example), backbone), _count(at))
    places: list[Place] = []
    names = []
    for item in at:
        if isinstance(item, str):
            names.append(_canonical(backbone, item))
            continue
        if isinstance(item, bool) or not isinstance(item, float) or not 0 < item < 1:
            raise AttachError(
                f"attach(at=...): {item!r} is neither a module's name nor a share of the MACs between 0 and 1."
            )
        places = places or inspect(backbone, example)
        names.append(nearest(places, item))
    for name in names:
        if names.count(name) > 1:
            raise AttachError(f"attach(at={list(at)}): two cuts are at '{name}'. Give each exit a place of its own.")
    return names


def proposed(places: Sequence[Place], count: int = AUTO_COUNT) -> list[str]:
    """Places for so many early exits: near even shares of the MACs, and of those near, the one that carries least.

    Raises:
        AttachError: there are not that many places.
    """
    found: list[Place] = []
    for share in (k / (count + 1) for k in range(1, count + 1)):
        free = [p for p in able(places) if not found or p.macs > found[-1].macs]
        near = [p for p in free if abs(p.share - share) <= WINDOW]
        if not free:
            raise AttachError(
                f"attach(at='auto:{count}'): after {[p.name for p in found]} no place is left. Ask for fewer exits."
            )
        least = min((p.carry_bytes for p in near), default=0)
        found.append(_nearest([p for p in near if p.carry_bytes == least] or free, share))
    return [place.name for place in found]


def nearest(places: Sequence[Place], share: float) -> str:
    """Name of the place nearest to a share of the MACs; clean cuts first, then outer modules, then later ones.

    Raises:
        AttachError: no place can be cut.
    """
    if not able(places):
        raise AttachError(
            f"attach(at={share}): no place of this model can be cut. See the reasons with offramp.inspect."
        )
    return _nearest(able(places), share).name


def able(places: Sequence[Place]) -> list[Place]:
    """The places that can be cut with something before and behind; only the clean ones, if there are any."""
    found = [p for p in places if p.refused is None and 0 < p.share < 1]
    return [p for p in found if p.clean] or found


def notable(places: Sequence[Place], backbone: nn.Module) -> list[Place]:
    """Clean places behind modules that contain others; behind any module where there are none of these."""
    clean = able(places)
    return [place for place in clean if any(backbone.get_submodule(place.name).children())] or clean


def spread(places: Sequence[Place], backbone: nn.Module) -> list[Place]:
    """Of the notable places that cost the same, the outermost, and of these the last.

    Raises:
        AttachError: no place can be cut.
    """
    found: dict[float, Place] = {}
    for place in notable(places, backbone):
        known = found.setdefault(place.macs, place)
        if place.name.count(".") <= known.name.count("."):
            found[place.macs] = place
    if not found:
        raise AttachError("No place of this model can be cut. See the reasons with offramp.inspect.")
    return list(found.values())


def _nearest(places: Sequence[Place], share: float) -> Place:
    order = {place.name: i for i, place in enumerate(places)}
    return min(places, key=lambda p: (round(abs(p.share - share), 9), p.name.count("."), -order[p.name]))


def _count(at: str) -> int:
    asked = AUTO.fullmatch(at)
    if asked is None:
        raise AttachError(
            f"attach(at={at!r}): give a list of at least one submodule name or share of the MACs, or 'auto', or "
            "'auto:3' for that many early exits."
        )
    return int(asked[1] or AUTO_COUNT)


def _canonical(backbone: nn.Module, name: str) -> str:
    modules = dict(backbone.named_modules(remove_duplicate=False))
    if not name or name not in modules:
        known = [n for n in modules if n]
        raise AttachError(
            f"{type(backbone).__name__} has no submodule '{name}' (attach(at=...)). {closest(name, known)} "
            "See every place with: offramp inspect MODEL, or offramp.inspect(model, example)."
        )
    canonical: str = next(n for n, m in backbone.named_modules() if m is modules[name])
    return canonical
