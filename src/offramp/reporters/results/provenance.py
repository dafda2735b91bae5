"""What the results are about, and what made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Subject:
    """The model and the data.

    Attributes:
        model: name of the backbone.
        data: name of the data set.
        classes: names of the classes.
        places: modules behind which the early exits are, earliest first.
        notice: what must be announced wherever these results are shown; empty where there is nothing.
    """

    model: str
    data: str
    classes: tuple[str, ...]
    places: tuple[str, ...]
    notice: str = ""


@dataclass(frozen=True)
class Provenance:
    """How the results came about, as it is to be shown.

    Attributes:
        created: date and time, UTC, ISO 8601.
        seed: of splits, weights and training.
        device: in words.
        versions: of the packages that matter.
        commit: of the code, None outside a git checkout.
        splits: samples per split.
        settings: what was asked for, by name.
        looks: how often the test split was evaluated in this run's folder, this time included.
    """

    created: str
    seed: int | None
    device: str
    versions: Mapping[str, str]
    commit: str | None
    splits: Mapping[str, int]
    settings: Mapping[str, Any] = field(default_factory=dict)
    looks: int = 1
