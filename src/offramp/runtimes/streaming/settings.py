"""What can be chosen about a stream."""

from __future__ import annotations

import math
from dataclasses import dataclass

from offramp.errors import StreamError


@dataclass(frozen=True)
class Settings:
    """Parameters of a stream, checked.

    Attributes:
        target: rows of a full firing: a stage runs when so many wait for it, and never on more at once.
        max_wait: seconds from a request's arrival to its deadline; None for no deadlines.
        linger: seconds without an arrival after which a stage runs on fewer rows than `target`.
        in_flight: most rows under way; None for a number that keeps all stages in work.
    """

    target: int = 64
    max_wait: float | None = None
    linger: float = 0.0
    in_flight: int | None = None

    def __post_init__(self) -> None:
        self._require(self.target >= 1, "target", "at least 1 row")
        self._require(self.max_wait is None or 0 < self.max_wait < math.inf, "max_wait", "seconds above 0, or None")
        self._require(self.linger >= 0, "linger", "at least 0 seconds")
        self._require(self.in_flight is None or self.in_flight >= 1, "in_flight", "at least 1 row, or None")

    def _require(self, holds: bool, name: str, allowed: str) -> None:
        if not holds:
            raise StreamError(f"A stream with {name}={getattr(self, name)!r}: give {allowed}.")
